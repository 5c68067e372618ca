package openstack

import (
	"strings"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/latent"
)

const account1 = `os_username="u", os_password="p", os_tenant_name="t", os_auth_url="http://h:5000/v3"`

// docs/requirements.md A12, B7: the defaults, and the order of the arguments.
func TestOpenStackDefaults(t *testing.T) {
	n := declare(t, `"w", "pw", 1, "u", "p", "t", "http://h:5000/v3", "ud", "pd", None, None, "region", "image", {"a": "b"}, {"description": "d"}, "2.19"`)
	if n.Class != "OpenStackLatentWorker" || n.Name != "w" || !n.Password.Matches("pw") || n.Latent.MayBeIncompatible ||
		n.Latent.BuildWait != 10*time.Minute || n.Latent.Missing != 20*time.Minute || n.Latent.CheckEvery != 10*time.Second {
		t.Errorf("%+v, %+v", n, n.Latent)
	}
	p := n.Latent.Backend.(*Params)
	a, err := p.Render(t.Context(), props{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.read(a)
	if err != nil || w.flavor != "1" || w.image != "image" || w.meta["a"] != "b" || w.nova["description"] != "d" || orZero(p.Region) != "region" || p.ClientVersion != "2.19" || p.OwnPassword {
		t.Errorf("%+v, %v", w, err)
	}
	if p.Kind() != "openstack" || p.Varies() || p.OsUserDomain.Value.Reveal() != "ud" || p.OsProjectDomain.Value.Reveal() != "pd" {
		t.Errorf("%+v", p)
	}
	p = declare(t, `"w", None, "m1", image="i", `+account1).Latent.Backend.(*Params)
	if p.ClientVersion != "2" || !p.OwnPassword || p.ConfigDrive || p.OsInterface != "" {
		t.Errorf("%+v", p)
	}
}

// Each argument that can depend on properties makes servers differ, and asks no cloud (B7,
// D2.8).
func TestOpenStackCompatibility(t *testing.T) {
	for name, value := range map[string]string{
		"flavor": `util.Interpolate("m%(prop:x)s")`, "image": `util.Property("x")`, "meta": `{"a": util.Property("x")}`,
		"block_devices": `[{"uuid": util.Property("x")}]`, "nova_args": `{"hostname": util.Property("x")}`, "networks": `[util.Property("x")]`,
		"security_groups": `[util.Property("x")]`, "key_name": `util.Property("x")`, "availability_zone": `util.Property("x")`,
		"user_data": `util.Interpolate("%(prop:x)s")`,
	} {
		args := map[string]string{"flavor": `"m1"`, "image": `"i"`, "client_version": `"2.90"`, name: value}
		list := `"w", None, ` + account1
		for name, value := range args {
			list += ", " + name + "=" + value
		}
		n := declare(t, list)
		p := n.Latent.Backend.(*Params)
		p.transport = newFake(t)
		if !p.Varies() || !n.Latent.MayBeIncompatible {
			t.Errorf("%s: it does not vary", name)
		}
		render := func(x string) latent.Arguments {
			a, err := p.Render(t.Context(), props{"x": x})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return a
		}
		if !render("1").Equal(render("1")) || render("1").Equal(render("2")) {
			t.Errorf("%s: servers of equal builds differ, or those of others do not", name)
		}
		if n := len(p.transport.(*fake).asked); n != 0 {
			t.Errorf("%s: %d kinds of requests to know which server serves a build", name, n)
		}
	}
}

// A reload sees every argument that changes.
func TestOpenStackContent(t *testing.T) {
	const base = `"w", None, "m1", ` + account1 + `, image="i"`
	was := config.Hash(declare(t, base))
	for _, more := range []string{
		`os_user_domain="d"`, `os_project_domain="d"`, `os_auth_args={"auth_url": "http://h", "password": util.Secret("s")}`, `region="r"`, `client_version="2.1"`,
		`os_cloud="c"`, `os_cloud="c", os_client_config_file="f"`, `os_cacert="f"`, `os_interface="internal"`, `config_drive=True`, `masterFQDN="h"`,
		`networks=["n"]`, `security_groups=["s"]`, `key_name="k"`, `availability_zone="z"`, `user_data="u"`, `meta={"a": "b"}`, `nova_args={"nics": "auto"}, client_version="2.37"`,
		`block_devices=[{"uuid": "u"}]`,
	} {
		if config.Hash(declare(t, base+", "+more)) == was {
			t.Errorf("%s changes nothing", more)
		}
	}
	hash := func(image string) config.Digest {
		return config.Hash(declare(t, `"w", None, "m1", `+account1+`, image=`+image))
	}
	if hash(`lambda images: images[0]`) == hash(`len`) || hash(`len`) == hash(`"i"`) || hash(`"i"`) == hash(`"j"`) {
		t.Error("another image changes nothing")
	}
}

func TestOpenStackRenderErrors(t *testing.T) {
	p := declare(t, `"w", None, `+account1+`, flavor=util.Property("flavor"), image=util.Property("image"), block_devices=util.Property("devices"),
		meta=util.Property("meta"), nova_args=util.Property("nova")`).Latent.Backend.(*Params)
	good := props{"flavor": int64(1), "image": "i", "devices": nil, "meta": nil, "nova": nil}
	if _, err := p.Render(t.Context(), good); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		property string
		value    any
		want     string
	}{
		{"flavor", nil, "render flavor: want string, got None"},
		{"image", int64(3), "render image: want string"},
		{"image", nil, "there is neither image nor block_devices"},
		{"devices", []any{map[string]any{"uuid": "u", "source_type": "tape"}}, `block_devices: item 1: source_type: there is no "tape"; there are blank, image, snapshot, volume`},
		{"devices", []any{map[string]any{"source_type": "blank"}}, "block_devices: item 1: a blank disk needs its volume_size"},
		{"devices", []any{map[string]any{}}, "block_devices: item 1: there is no uuid of the image"},
		{"devices", []any{map[string]any{"uid": "u"}}, `there is no "uid"; did you mean "uuid"?`},
		{"meta", map[string]any{tagMaster: "x"}, `meta: "buildstar.master" is what the master finds its servers by`},
		{"meta", map[string]any{"a/b": "x"}, `meta: "a/b": a name has`},
		{"meta", map[string]any{"a": strings.Repeat("x", 256)}, `meta: "a": the text has 256 bytes`},
		{"nova", map[string]any{"max_count": int64(2)}, "nova_args: max_count: leave it out: a worker has one server"},
		{"nova", map[string]any{"nicks": "auto"}, `nova_args: there is no "nicks"; did you mean "nics"?`},
		{"nova", map[string]any{"tags": []any{"a"}}, `nova_args: tags: write client_version="2.52" or newer`},
	} {
		bad := props{}
		for k, v := range good {
			bad[k] = v
		}
		bad[c.property] = c.value
		if _, err := p.Render(t.Context(), bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%v: %v", c.property, c.value, err)
		}
	}
}

// What every worker has, this one has too.
func TestOpenStackCommon(t *testing.T) {
	n := declare(t, `"w", None, "m1", image="i", `+account1+`, max_builds=2, properties={"a": 1}, defaultProperties={"b": 2}, keepalive_interval=60,
		locks=[util.MasterLock("l").access("exclusive")], machine_name="m", masterFQDN="ci:1", caps=[util.InstanceCap("c", max_instances=3)],
		check_instance_interval=3, missing_timeout=4, build_wait_timeout=0, notify_on_missing=["a@b", "c@d"]`)
	l := n.Latent
	if n.MaxBuilds != 2 || n.Properties["a"] != int64(1) || n.DefaultProperties["b"] != int64(2) || n.Keepalive != time.Minute || len(n.Locks) != 1 || n.Machine != "m" || len(n.NotifyOnMissing) != 2 {
		t.Errorf("%+v", n)
	}
	if l.MasterFQDN != "ci:1" || len(l.Caps) != 1 || l.Caps[0].MaxInstances != 3 || l.CheckEvery != 3*time.Second || l.Missing != 4*time.Second || l.BuildWait != 0 {
		t.Errorf("%+v", l)
	}
}

func TestOpenStackVersion(t *testing.T) {
	for in, want := range map[string]string{"2": "", "2.1": "", "2.0": "", "2.60": "2.60", "2.latest": "latest"} {
		if v, err := readVersion(in); err != nil || v.header() != want {
			t.Errorf("%s: %q, %v", in, v.header(), err)
		}
	}
	for _, in := range []string{"", "1.1", "3", "2.", "2.x", "2.99999", "v2"} {
		if v, err := readVersion(in); err == nil {
			t.Errorf("%q: %v", in, v)
		}
	}
}
