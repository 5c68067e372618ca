package openstack

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"buildstar/latent"
)

// docs/requirements.md A12, B7: what a server is asked for with.
func TestOpenStackStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian", meta={"role": "ci"}, networks=["ci-net"], key_name="k", security_groups=["a", "b"], availability_zone="z", config_drive=True,
			user_data="#!/bin/sh\nrun ${WORKERNAME} ${WORKERPASS} ${BUILDMASTER}:${BUILDMASTER_PORT} ${HOME}",
			nova_args={"scheduler_hints": {"group": "g"}, "disk_config": "AUTO", "description": "d"}, client_version="2.60"`)
		versions := map[string]bool{}
		f.intrude = func(req *http.Request, _ map[string]any) *answer {
			versions[kindOf(req)+" "+req.Header.Get("X-OpenStack-Nova-API-Version")] = true
			return nil
		}
		ref, s, err := r.tryStart(nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{ref.Handle, "ci-small", "debian"}; !slices.Equal(s.Info, want) {
			t.Errorf("info %q, want %q", s.Info, want)
		}
		user := base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\nrun w_1 pw 10.0.0.1:9989 ${HOME}"))
		want := map[string]any{
			"os:scheduler_hints": map[string]any{"group": "g"},
			"server": map[string]any{
				"name": "w_1", "flavorRef": "ci-small-id", "imageRef": "00000000-0000-0000-0000-000000000001", "key_name": "k", "availability_zone": "z", "config_drive": true,
				"metadata":        map[string]any{"role": "ci", tagMaster: "Mtest", tagWorker: "w_1", tagAttempt: "1"},
				"networks":        []any{map[string]any{"uuid": f.object("networks", "networks")["id"]}},
				"security_groups": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}},
				"user_data":       user, "OS-DCF:diskConfig": "AUTO", "description": "d",
			},
		}
		if got := f.last(); !reflect.DeepEqual(got, want) {
			text, _ := json.MarshalIndent(got, "", " ")
			t.Errorf("asked for %s", text)
		}
		if !versions["POST v2.1/servers 2.60"] {
			t.Errorf("versions: %v", versions)
		}
		if f.count("GET v2.1/servers/ID") < 2 {
			t.Error("it was not waited for")
		}
		r.stop(ref)
		if left := f.alive(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// Without user_data the server learns where its master is, and a password only if it is
// nobody else's.
func TestOpenStackUserData(t *testing.T) {
	const rest = "BUILDMASTER_PORT=9989\nBUILDMASTER_PROTOCOL=msgpack_experimental_v7\nWORKERNAME=w\n"
	in := latent.Launch{Ref: latent.Ref{Worker: "w"}, Password: "pw", Host: "ci", Port: 9989}
	secure := in
	secure.Host, secure.TLS = "fd00::1", true
	for _, c := range []struct {
		own  bool
		in   latent.Launch
		want string
	}{
		{false, in, "BUILDMASTER=ci\n" + rest}, {true, in, "BUILDMASTER=ci\n" + rest + "WORKERPASS=pw\n"}, {false, secure, "BUILDMASTER=wss://[fd00::1]\n" + rest},
	} {
		if got := (&Params{OwnPassword: c.own}).fill(nil, c.in); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// nova_args has what novaclient takes; what is there too wins over an argument of its own.
func TestOpenStackNovaArgs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian", key_name="k", client_version="2.90", nova_args={"key_name": "other", "nics": [{"net-id": "n", "v4-fixed-ip": "10.0.0.9"}, {"port-id": "p"}],
			"userdata": "text", "security_groups": ["s"], "config_drive": True, "admin_pass": "a", "tags": ["x"], "hostname": "h", "host": "c1",
			"hypervisor_hostname": "c2", "access_ip_v4": "10.0.0.1", "access_ip_v6": "::1", "trusted_image_certificates": ["t"],
			"availability_zone": "z", "block_device_mapping_v2": [{"uuid": "u"}]}`)
		r.stop(r.start())
		s := f.last()["server"].(map[string]any)
		for field, want := range map[string]any{
			"key_name": "other", "networks": []any{map[string]any{"uuid": "n", "fixed_ip": "10.0.0.9"}, map[string]any{"port": "p"}}, "user_data": "dGV4dA==",
			"security_groups": []any{map[string]any{"name": "s"}}, "config_drive": true, "adminPass": "a", "tags": []any{"x"}, "hostname": "h", "host": "c1",
			"hypervisor_hostname": "c2", "accessIPv4": "10.0.0.1", "accessIPv6": "::1", "trusted_image_certificates": []any{"t"}, "availability_zone": "z",
			"block_device_mapping_v2": []any{map[string]any{"uuid": "u"}},
		} {
			if !reflect.DeepEqual(s[field], want) {
				t.Errorf("%s is %v, want %v", field, s[field], want)
			}
		}
		r.declareFake(f, `image="debian", nova_args={"files": {"/etc/x": "y"}}`)
		r.stop(r.start())
		if got := fmt.Sprint(f.last()["server"].(map[string]any)["personality"]); got != "[map[contents:eQ== path:/etc/x]]" {
			t.Errorf("files: %v", got)
		}
	})
}

// Disks: their defaults, and the size that their source needs (B7).
func TestOpenStackBlockDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `block_devices=[{"uuid": "debian"}, {"uuid": "v", "source_type": "volume", "boot_index": 1, "device_name": "vdb", "delete_on_termination": False},
			{"uuid": "s", "source_type": "snapshot", "boot_index": -1}, {"source_type": "blank", "destination_type": "local", "volume_size": 7, "guest_format": "swap"}]`)
		f.intrude = func(req *http.Request, _ map[string]any) *answer {
			switch kindOf(req) {
			case "GET v3/ID/volumes/v":
				a := reply(200, map[string]any{"volume": map[string]any{"id": "v", "size": 5}})
				return &a
			case "GET v3/ID/snapshots/s":
				a := reply(200, map[string]any{"snapshot": map[string]any{"id": "s", "size": 6}})
				return &a
			}
			return nil
		}
		r.stop(r.start())
		disk := func(more ...any) map[string]any {
			d := map[string]any{"source_type": "image", "destination_type": "volume", "device_name": "vda", "boot_index": 0.0, "delete_on_termination": true}
			for i := 0; i < len(more); i += 2 {
				d[more[i].(string)] = more[i+1]
			}
			return d
		}
		want := []any{
			disk("uuid", "00000000-0000-0000-0000-000000000001", "volume_size", 3.0),
			disk("uuid", "v", "source_type", "volume", "boot_index", 1.0, "device_name", "vdb", "delete_on_termination", false, "volume_size", 5.0),
			disk("uuid", "s", "source_type", "snapshot", "boot_index", -1.0, "volume_size", 6.0),
			disk("source_type", "blank", "destination_type", "local", "volume_size", 7.0, "guest_format", "swap"),
		}
		s := f.last()["server"].(map[string]any)
		if !reflect.DeepEqual(s["block_device_mapping_v2"], want) || s["imageRef"] != "" {
			t.Errorf("disks %v of image %q", s["block_device_mapping_v2"], s["imageRef"])
		}
	})
}

// A server that Nova cannot make is not the build's fault, and Nova says why (A9.5).
func TestOpenStackErrorServer(t *testing.T) {
	for becomes, want := range map[string]string{
		"ERROR": "is ERROR: No valid host was found.", "gone": "is gone", "SHUTOFF": "is SHUTOFF",
	} {
		synctest.Test(t, func(t *testing.T) {
			r, f := newRig(t, `image="debian"`)
			f.becomes = becomes
			ref, _, err := r.tryStart(nil)
			if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, latent.ErrCannotSubstantiate) {
				t.Errorf("%s: %v", becomes, err)
			}
			began := time.Now()
			r.stop(ref)
			if left := f.alive(); len(left) > 0 || time.Since(began) >= settling && becomes != "gone" {
				t.Errorf("%s: left %v after %v", becomes, left, time.Since(began))
			}
		})
	}
}

// A server is looked at again if a look fails, but not for ever.
func TestOpenStackTroubles(t *testing.T) {
	for fails, good := range map[int]bool{troubles - 1: true, 1000: false} {
		synctest.Test(t, func(t *testing.T) {
			r, f := newRig(t, `image="debian"`)
			var mu sync.Mutex
			f.intrude = func(req *http.Request, _ map[string]any) *answer {
				mu.Lock()
				defer mu.Unlock()
				if kindOf(req) != "GET v2.1/servers/ID" || fails == 0 {
					return nil
				}
				fails--
				return &answer{Status: 503, Body: json.RawMessage(`{"message": "Nova is asleep"}`)}
			}
			_, _, err := r.tryStart(nil)
			if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "Nova is asleep (503 from GET http://") {
				t.Errorf("%v", err)
			}
		})
	}
}

// Who is at fault: the build, if it asks for what there is not, else the cloud (A9.5, A9.6).
func TestOpenStackBlame(t *testing.T) {
	for _, c := range []struct {
		args   string
		answer *answer
		want   string
		cannot bool
	}{
		{args: `flavor="m9.huge", image="debian"`, want: `the cloud has no flavor "m9.huge"`, cannot: true},
		{args: `image="plan9"`, want: `the cloud has no image "plan9" that can be used`, cannot: true},
		{args: `image="debian", networks=["lan"]`, want: `the cloud has no network "lan"`, cannot: true},
		{args: `image="debian"`, answer: &answer{400, json.RawMessage(`{"badRequest": {"message": "Invalid key_name provided."}}`)}, want: "create server: Invalid key_name provided. (400 ", cannot: true},
		{args: `image="debian"`, answer: &answer{409, json.RawMessage(`{"conflictingRequest": {"message": "Multiple possible networks found, use a Network ID to be more specific."}}`)}, want: "Multiple possible networks", cannot: true},
		{args: `image="debian"`, answer: &answer{403, json.RawMessage(`{"forbidden": {"message": "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances"}}`)}, want: "Quota exceeded for instances"},
		{args: `image="debian"`, answer: &answer{500, json.RawMessage(`"<html>oops</html>"`)}, want: "create server: Internal Server Error (500 "},
		{args: `image="debian"`, answer: &answer{}, want: "create server: "},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, f := newRig(t, c.args)
			f.intrude = func(req *http.Request, _ map[string]any) *answer {
				if kindOf(req) == "POST v2.1/servers" {
					return c.answer
				}
				return nil
			}
			_, _, err := r.tryStart(nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, latent.ErrCannotSubstantiate) != c.cannot {
				t.Errorf("%s: %v", c.args, err)
			}
		})
	}
}

// Workers that start together ask once for what they all need (D2.8).
func TestOpenStackLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian", networks=["ci-net"]`)
		start := func() {
			var wg sync.WaitGroup
			for i := range 20 {
				l, err := r.launch(nil)
				if err != nil {
					t.Fatal(err)
				}
				l.Worker = fmt.Sprint("w", i)
				b, err := r.params.Open(r.env)
				if err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					if _, err := b.Start(r.ctx, l); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		r.start() // which logs in
		logins := f.count("POST v3/auth/tokens")
		start()
		for kind, want := range map[string]int{"POST v3/auth/tokens": logins, "GET v2.1/flavors/detail": 1, "GET v2/images": 1, "GET v2.0/networks": 2} {
			if n := f.count(kind); n != want {
				t.Errorf("%s: asked %d times, want %d", kind, n, want)
			}
		}
		time.Sleep(imagesStand)
		start()
		if f.count("GET v2/images") != 2 || f.count("GET v2.1/flavors/detail") != 1 {
			t.Errorf("asked: %v", f.asked)
		}
	})
}

// An image that is gone since it was looked up is looked up again.
func TestOpenStackStaleLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian"`)
		r.stop(r.start())
		f.removeImage("debian")
		f.addImage("debian", time.Now(), 1)
		const id = "00000000-0000-0000-0000-00000000abcd"
		f.images[0]["id"] = id
		r.stop(r.start())
		if got := f.last()["server"].(map[string]any)["imageRef"]; got != id {
			t.Errorf("of image %v, want %s", got, id)
		}
		f.removeImage("debian")
		if _, _, err := r.tryStart(nil); !errors.Is(err, latent.ErrCannotSubstantiate) {
			t.Errorf("without the image: %v", err)
		}
	})
}

// A token that has expired is renewed.
func TestOpenStackTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian"`)
		ref := r.start()
		f.expire()
		if good, message, err := r.b.Check(r.ctx, ref); !good || message != "" || err != nil {
			t.Errorf("check: %v, %q, %v", good, message, err)
		}
		f.expire()
		r.stop(ref)
		if left := f.alive(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		f.expire()
		f.mu.Lock()
		f.password = "changed"
		f.mu.Unlock()
		if _, _, err := r.tryStart(nil); err == nil || !strings.Contains(err.Error(), "log in again: ") || errors.Is(err, latent.ErrCannotSubstantiate) {
			t.Errorf("with a password that is none any more: %v", err)
		}
	})
}

// A service that has too many requests is asked again later.
func TestOpenStackTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian"`)
		left := 3
		f.intrude = func(req *http.Request, _ map[string]any) *answer {
			if kindOf(req) == "POST v2.1/servers" && left > 0 {
				left--
				return &answer{Status: 429}
			}
			return nil
		}
		began := time.Now()
		r.stop(r.start())
		if took := time.Since(began); took < 14*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// What an earlier start left under the name is removed first (B7); what others have is not.
func TestOpenStackLeftovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian"`)
		f.add("w_1", map[string]any{tagMaster: "Mtest", tagWorker: "w_1", tagAttempt: "7"})
		f.add("w_1", map[string]any{tagMaster: "Mother", tagWorker: "w_1", tagAttempt: "7"})
		f.add("w_1", nil)
		f.add("w_12", map[string]any{tagMaster: "Mtest", tagWorker: "w_12", tagAttempt: "8"})
		ref := r.start()
		if !strings.Contains(r.log.String(), "which an earlier start left") {
			t.Errorf("log: %s", &r.log)
		}
		refs, err := r.b.List(r.ctx)
		if err != nil || len(refs) != 2 || !slices.ContainsFunc(refs, func(l latent.Ref) bool { return l.Handle == ref.Handle && l.Attempt == 1 && l.Worker == "w_1" }) {
			t.Errorf("list: %+v, %v", refs, err)
		}
		if left := f.alive(); !slices.Equal(left, []string{"w_1", "w_1", "w_1", "w_12"}) {
			t.Errorf("there are %v", left)
		}
	})
}

func TestOpenStackStop(t *testing.T) {
	for _, fast := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r, f := newRig(t, `image="debian"`)
			ref := r.start()
			lost := ref
			lost.Handle = "" // the answer to Start was lost
			for _, ref := range []latent.Ref{lost, ref, ref, lost} {
				if err := r.b.Stop(r.ctx, ref, fast); err != nil {
					t.Error(err)
				}
				if left := f.alive(); len(left) != 0 && !fast {
					t.Errorf("left: %v", left)
				}
			}
		})
	}
}

// The request of a master that was killed may reach Nova after the next master looked.
func TestOpenStackStopLooksTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian"`)
		late := time.AfterFunc(settling/2, func() {
			f.add("w_1", map[string]any{tagMaster: "Mtest", tagWorker: "w_1", tagAttempt: "4"})
		})
		defer late.Stop()
		r.stop(latent.Ref{Worker: "w_1", Attempt: 4})
		if left := f.alive(); len(left) > 0 || f.count("DELETE v2.1/servers/ID") != 1 {
			t.Errorf("left: %v", left)
		}
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		defer cancel()
		if err := r.b.Stop(ctx, latent.Ref{Worker: "w_1", Attempt: 5}, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cut short: %v", err)
		}
	})
}

// A start that is cut while it asks for the server waits for the answer a while, so that the
// Stop that follows finds it.
func TestOpenStackStartIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian"`)
		ctx, cancel := context.WithCancel(r.ctx)
		f.intrude = func(req *http.Request, _ map[string]any) *answer {
			if kindOf(req) == "POST v2.1/servers" {
				cancel()
				time.Sleep(grace / 2)
			}
			return nil
		}
		l, err := r.launch(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.b.Start(ctx, l); !errors.Is(err, context.Canceled) || errors.Is(err, latent.ErrCannotSubstantiate) {
			t.Errorf("start: %v", err)
		}
		r.stop(l.Ref)
		if left := f.alive(); len(left) > 0 || f.count("POST v2.1/servers") != 1 {
			t.Errorf("left: %v", left)
		}
	})
}

// docs/requirements.md A9.18: a server that is off, broken or gone will never connect.
func TestOpenStackCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian"`)
		ref := r.start()
		for status, want := range map[string]string{
			"ACTIVE": "", "REBOOT": "", "SHUTOFF": "is SHUTOFF; the last lines of its console:\nFAKE CONSOLE OUTPUT\n", "ERROR": "is ERROR: No valid host was found.",
		} {
			f.set(ref.Handle, status)
			good, message, err := r.b.Check(r.ctx, ref)
			if good != (want == "") || err != nil || !strings.Contains(message, want) {
				t.Errorf("%s: %v, %q, %v", status, good, message, err)
			}
		}
		f.intrude = func(*http.Request, map[string]any) *answer { return &answer{Status: 503} }
		if good, message, err := r.b.Check(r.ctx, ref); !good || !strings.Contains(message, "503") || err != nil {
			t.Errorf("while Nova is away: %v, %q, %v", good, message, err)
		}
		f.intrude = nil
		r.stop(ref)
		if good, message, err := r.b.Check(r.ctx, ref); good || !strings.Contains(message, "is gone") || err != nil {
			t.Errorf("gone: %v, %q, %v", good, message, err)
		}
	})
}

// What Nova gives up deleting is deleted again.
func TestOpenStackDeleteAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian"`)
		ref := r.start()
		ignored := 2
		f.intrude = func(req *http.Request, _ map[string]any) *answer {
			if kindOf(req) == "DELETE v2.1/servers/ID" && ignored > 0 {
				ignored--
				return &answer{Status: 409}
			}
			return nil
		}
		r.stop(ref)
		if left := f.alive(); len(left) > 0 || f.count("DELETE v2.1/servers/ID") != 3 {
			t.Errorf("left %v after %d times", left, f.count("DELETE v2.1/servers/ID"))
		}
	})
}

// Secrets are in the ledger by name only.
func TestOpenStackSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := newRig(t, `image="debian", user_data=util.Interpolate("key=%(secret:key)s.")`)
		r.env.Secret = func(_ context.Context, name string) (string, error) { return "revealed-" + name, nil }
		r.open(r.params)
		l, err := r.launch(nil)
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprint(l.Arguments); strings.Contains(text, "revealed") || !strings.Contains(text, "key") {
			t.Errorf("the ledger has %q", text)
		}
		if _, err := r.b.Start(r.ctx, l); err != nil {
			t.Fatal(err)
		}
		got, err := base64.StdEncoding.DecodeString(f.last()["server"].(map[string]any)["user_data"].(string))
		if err != nil || string(got) != "key=revealed-key." {
			t.Errorf("user data %q, %v", got, err)
		}
	})
}
