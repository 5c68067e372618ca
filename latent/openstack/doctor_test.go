package openstack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"buildstar/latent"
)

// examined is what the doctor finds: CHECK: HEALTH: TEXT, a line each.
func examined(r *rig) string {
	var b strings.Builder
	r.b.Examine(r.ctx, func(f latent.Finding) {
		fmt.Fprintf(&b, "%s: %v: %s\n", f.Check, f.Health, f.Text)
		if f.Health != latent.Fine && f.Fix == "" {
			r.t.Errorf("%s has no fix", f.Check)
		}
	})
	return b.String()
}

func TestOpenStackDoctor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian", networks=["ci-net"], block_devices=[{"uuid": "debian"}]`)
		want := `reach http://keystone.test:5000/v3: fine: it answered in 0s
credentials: fine: logged in as admin of project admin, until 2000-01-01T01:00:00Z
clocks: fine: Keystone's is the same
flavor: fine: ci-small: 1 CPUs, 128 MiB of memory, a disk of 0 GiB
quota: fine: 1 servers, 1 CPUs and 128 MiB of memory are used
image: fine: debian, 00000000-0000-0000-0000-000000000001, of 2024-01-02T03:04:05Z
network: fine: ci-net, ` + f.object("networks", "networks")["id"].(string) + `
block_devices: fine: 1, all of what is there
`
		if got := examined(r); got != want {
			t.Errorf("found\n%s", got)
		}
		if f.count("POST v2.1/servers") != 0 {
			t.Error("it started a server")
		}
		r.declareFake(f, `flavor=util.Property("f"), image=util.Property("i")`)
		if got := examined(r); !strings.Contains(got, "flavor: fine: it depends on the build\n") || !strings.Contains(got, "image: fine: it depends on the build\n") {
			t.Errorf("found\n%s", got)
		}
	})
}

func TestOpenStackDoctorFinds(t *testing.T) {
	limits := func(used, most int) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"limits": {"absolute": {"totalInstancesUsed": %d, "maxTotalInstances": %d, "totalCoresUsed": 1, "maxTotalCores": 20, "totalRAMUsed": 0, "maxTotalRAMSize": -1}}}`, used, most))
	}
	for _, c := range []struct {
		args   string
		kind   string
		answer answer
		want   string
	}{
		{args: `image="debian"`, kind: "GET v3", answer: answer{Status: 404}, want: "reach http://keystone.test:5000/v3: ill: it answers Not Found\n"},
		{args: `image="debian", os_username="u", os_password="no", os_auth_url="http://h/v3"`, want: "credentials: ill: log in at http://h/v3: The request you have made requires authentication. (401 "},
		{args: `image="debian", os_username=util.Secret("u"), os_password="no", os_auth_url="http://h/v3"`, want: `account: ill: read username: secret "u": no secrets provider`},
		{args: `image="debian"`, kind: "GET v2.1/limits", answer: answer{200, limits(9, 10)}, want: "quota: fine: 9 of 10 servers, 1 of 20 CPUs and 0 MiB of memory are used\n"},
		{args: `image="debian"`, kind: "GET v2.1/limits", answer: answer{200, limits(10, 10)}, want: "quota: doubtful: 10 of 10 servers"},
		{args: `image="plan9"`, want: `image: ill: the cloud has no image "plan9" that can be used`},
		{args: `image=lambda images: images[3]`, want: "image: ill: choose an image among 1: "},
		{args: `image="debian", flavor="huge"`, want: `flavor: ill: the cloud has no flavor "huge"`},
		{args: `image="debian", networks=["lan"]`, want: `network: ill: the cloud has no network "lan"`},
		{args: `image="debian", key_name="k"`, kind: "GET v2.1/os-keypairs/k", answer: answer{404, json.RawMessage(`{"itemNotFound": {"message": "Keypair k not found"}}`)}, want: "key pair: ill: Keypair k not found (404 "},
		{args: `image="debian", region="Mars"`, want: `ill: find the compute service in region "Mars": `},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, f := newRig(t, c.args)
			f.intrude = func(req *http.Request, _ map[string]any) *answer {
				if kindOf(req) == c.kind {
					return &c.answer
				}
				return nil
			}
			var got strings.Builder
			r.b.Examine(r.ctx, func(f latent.Finding) { fmt.Fprintf(&got, "%s: %v: %s\n", f.Check, f.Health, f.Text) })
			if !strings.Contains(got.String(), c.want) {
				t.Errorf("%s\n%s", c.args, &got)
			}
		})
	}
}

func TestOpenStackDoctorClocks(t *testing.T) {
	for ahead, want := range map[time.Duration]string{
		0: "clocks: fine: Keystone's is the same\n", 5 * time.Second: "clocks: fine: Keystone's is 5s ahead\n",
		-time.Hour: "clocks: doubtful: Keystone's is 1h0m0s behind\n", 2 * time.Minute: "clocks: doubtful: Keystone's is 2m0s ahead\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			r, f := newRig(t, `image="debian"`)
			f.ahead = ahead
			if got := examined(r); !strings.Contains(got, want) {
				t.Errorf("%v:\n%s", ahead, got)
			}
		})
	}
}
