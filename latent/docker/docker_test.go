package docker

import (
	"strings"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/latent"
)

// docs/requirements.md B5: the defaults.
func TestDockerDefaults(t *testing.T) {
	n := declare(t, `"w", None, "unix:///s", "image"`)
	if n.Class != "DockerLatentWorker" || n.Name != "w" || n.Password != "" || n.Latent.BuildWait != 0 || n.Latent.MayBeIncompatible ||
		n.Latent.Missing != 20*time.Minute || n.Latent.CheckEvery != 10*time.Second {
		t.Errorf("%+v, %+v", n, n.Latent)
	}
	if n := declare(t, `"w", "pw", "unix:///s", "image", build_wait_timeout=60`); !n.Password.Matches("pw") || n.Latent.BuildWait != time.Minute {
		t.Errorf("%+v, %+v", n, n.Latent)
	}
	p := n.Latent.Backend.(*Params)
	a, err := p.Render(t.Context(), props{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := read(a)
	if err != nil || w.host != "unix:///s" || w.image != "image" || w.encoding != "gzip" || w.target != "" || w.customContext || w.hostname != "" {
		t.Errorf("%+v, %v", w, err)
	}
	if p.Kind() != "docker" || p.Varies() || p.Autopull || p.AlwaysPull || p.FollowStartupLogs || p.MasterProtocol != "" || p.Version != "" || p.TLS.On {
		t.Errorf("%+v", p)
	}
}

// Each argument that can depend on properties makes instances differ (B5).
func TestDockerCompatibility(t *testing.T) {
	for name, value := range map[string]string{
		"docker_host": `util.Interpolate("unix:///%(prop:x)s")`, "image": `util.Interpolate("i%(prop:x)s")`,
		"dockerfile": `util.Interpolate("FROM %(prop:x)s")`, "volumes": `[util.Interpolate("/a:/%(prop:x)s")]`,
		"hostconfig": `{"network_mode": util.Property("x")}`, "custom_context": `util.Property("true1")`,
		"encoding": `util.Property("encoding")`, "target": `util.Property("x")`,
		"buildargs": `{"A": util.Property("x")}`, "hostname": `util.Property("x")`,
	} {
		args := map[string]string{"docker_host": `"unix:///s"`, "image": `"i"`, "dockerfile": `"FROM x"`, name: value}
		list := `"w", None`
		for name, value := range args {
			list += ", " + name + "=" + value
		}
		n := declare(t, list)
		p := n.Latent.Backend.(*Params)
		if !p.Varies() || !n.Latent.MayBeIncompatible {
			t.Errorf("%s: it does not vary", name)
		}
		render := func(x string) latent.Arguments {
			a, err := p.Render(t.Context(), props{"x": x, "true1": x == "1", "encoding": map[string]any{"1": "gzip", "2": "identity"}[x]})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return a
		}
		if one := render("1"); one.Equal(render("2")) || !one.Equal(render("1")) {
			t.Errorf("%s: an instance of %v serves every build", name, one)
		}
	}
}

// A reload sees every argument that changes.
func TestDockerContent(t *testing.T) {
	was := config.Hash(declare(t, `"w", None, "unix:///s", "i"`))
	for _, more := range []string{
		`command=["x"]`, `version="1.41"`, `tls=True`, `followStartupLogs=True`, `masterFQDN="h"`, `master_protocol="msgpack_experimental_v7"`,
		`autopull=True`, `alwaysPull=True`, `hostconfig={"init": False}`,
	} {
		if config.Hash(declare(t, `"w", None, "unix:///s", "i", `+more)) == was {
			t.Errorf("%s changes nothing", more)
		}
	}
}

func TestRenderErrors(t *testing.T) {
	p := declare(t, `"w", None, docker_host="unix:///s", image=util.Property("image"), volumes=util.Property("volumes"), hostconfig=util.Property("hostconfig")`).Latent.Backend.(*Params)
	good := props{"image": "i", "volumes": []any{}, "hostconfig": nil} // which are both None to util.Property
	if _, err := p.Render(t.Context(), good); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		property string
		value    any
		want     string
	}{
		{"image", int64(3), "render image: want string"},
		{"volumes", []any{"/a"}, "volumes: item 1: want HOST:CONTAINER"},
		{"hostconfig", map[string]any{"mem_limt": "1g"}, `hostconfig: there is no "mem_limt"; did you mean "mem_limit"?`},
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

func TestEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"unix:///var/run/docker.sock": "unix:///var/run/docker.sock", "unix://var/run/docker.sock": "unix:///var/run/docker.sock",
		"http+unix://%2Fvar%2Frun%2Fdocker.sock": "unix:///var/run/docker.sock", "tcp://h": "tcp://h:2375", "tcp://h:99": "tcp://h:99",
		"http://h": "tcp://h:2375", "https://h": "https://h:2376", "h:2375": "tcp://h:2375", "tcp://[::1]:5/": "tcp://[::1]:5",
	} {
		if got, err := endpoint(in); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "unix://", "ssh://h", "npipe:////./pipe/docker", "tcp://", "tcp://u@h:1", "tcp://h:x", "tcp://h/path"} {
		if got, err := endpoint(in); err == nil {
			t.Errorf("%q: %s", in, got)
		}
	}
}

func TestVolumes(t *testing.T) {
	if err := checkVolumes([]string{"/a:/b", "/a:/b:ro", "name:/b:rw", `C:\x:D:\y`}); err != nil {
		t.Error(err)
	}
	for _, v := range []string{"", "/a", ":/b", "/a:", "/a::ro"} {
		if checkVolumes([]string{"/a:/b", v}) == nil {
			t.Errorf("%q is good", v)
		}
	}
}

// What every worker has, this one has too.
func TestDockerCommon(t *testing.T) {
	n := declare(t, `"w", None, "unix:///s", "i", max_builds=2, properties={"a": 1}, defaultProperties={"b": 2}, keepalive_interval=60,
		locks=[util.MasterLock("l").access("exclusive")], machine_name="m", masterFQDN="ci:1", caps=[util.InstanceCap("c", max_instances=3)],
		check_instance_interval=3, missing_timeout=4, notify_on_missing=["a@b", "c@d"]`)
	l := n.Latent
	if n.MaxBuilds != 2 || n.Properties["a"] != int64(1) || n.DefaultProperties["b"] != int64(2) || n.Keepalive != time.Minute || len(n.Locks) != 1 || n.Machine != "m" || len(n.NotifyOnMissing) != 2 {
		t.Errorf("%+v", n)
	}
	if l.MasterFQDN != "ci:1" || len(l.Caps) != 1 || l.Caps[0].MaxInstances != 3 || l.CheckEvery != 3*time.Second || l.Missing != 4*time.Second {
		t.Errorf("%+v", l)
	}
}
