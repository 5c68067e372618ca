package libvirt

import (
	"strings"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/latent"
)

func plain(t prop.Template[*string]) string { v, _ := t.Plain(); return deref(v) }

// docs/requirements.md B8: the defaults.
func TestLibVirtDefaults(t *testing.T) {
	n := declare(t, `"w", None`)
	p := n.Latent.Backend.(*Params)
	if n.Class != "LibVirtWorker" || n.Name != "w" || n.Password != "" || n.Latent.BuildWait != 10*time.Minute || n.Latent.MayBeIncompatible ||
		n.Latent.Missing != 20*time.Minute || n.Latent.CheckEvery != 10*time.Second {
		t.Errorf("%+v, %+v", n, n.Latent)
	}
	if p.Kind() != "libvirt" || p.Varies() || p.URI != "system:///" || plain(p.HDImage)+plain(p.BaseImage)+plain(p.XML) != "" || !p.CheapCopy || p.GracefulShutdown {
		t.Errorf("%+v", p)
	}
}

// What configurations of all ages write means the same: those of the manual of 0.8 with the
// names of today (A11.7), and those of B8.
func TestLibVirtExamples(t *testing.T) {
	type arguments struct{ uri, hd, base, xml string }
	for args, want := range map[string]arguments{
		`"minion1", "sekrit", util.Connection("qemu:///session"), "/home/buildbot/images/minion1", "/home/buildbot/images/base_image"`:                            {"qemu:///session", "/home/buildbot/images/minion1", "/home/buildbot/images/base_image", ""},
		`"minion1", "sekrit", util.Connection("qemu:///session"), "/home/buildbot/images/minion1"`:                                                                {"qemu:///session", "/home/buildbot/images/minion1", "", ""},
		`"minion1", "sekrit", util.Connection("qemu:///session"), "/home/buildbot/images/minion1", base_image="/base"`:                                            {"qemu:///session", "/home/buildbot/images/minion1", "/base", ""},
		`"minion1", "sekrit", util.Connection("qemu:///session"), hd_image="/hd", base_image="/base", xml="<domain/>"`:                                            {"qemu:///session", "/hd", "/base", "<domain/>"},
		`"minion1", "sekrit", util.Connection("qemu:///session"), "/hd", "/base", "<domain/>"`:                                                                    {"qemu:///session", "/hd", "/base", "<domain/>"},
		`name="minion1", password="sekrit", uri=util.Connection("qemu:///session"), hd_image="/hd"`:                                                               {"qemu:///session", "/hd", "", ""},
		`"minion1", "sekrit", "/home/buildbot/images/minion1", "/home/buildbot/images/base_image"`:                                                                {"qemu:///system", "/home/buildbot/images/minion1", "/home/buildbot/images/base_image", ""},
		`"minion1", "sekrit", hd_image="/home/buildbot/images/minion1", base_image="/home/buildbot/images/base_image", uri="qemu:///session"`:                     {"qemu:///session", "/home/buildbot/images/minion1", "/home/buildbot/images/base_image", ""},
		`"minion1", "sekrit", "/hd", "/base", "qemu+ssh://root@farm/system", "<domain/>", masterFQDN="ci:9989"`:                                                   {"qemu+ssh://root@farm/system", "/hd", "/base", "<domain/>"},
		`"minion1", "sekrit", "/home/buildbot/images/minion1", "/home/buildbot/images/base_image", uri="session:///", build_wait_timeout=0, missing_timeout=1200`: {"qemu:///session", "/home/buildbot/images/minion1", "/home/buildbot/images/base_image", ""},
	} {
		n := declare(t, args)
		p := n.Latent.Backend.(*Params)
		uri, err := p.URI.resolve()
		if got := (arguments{uri, plain(p.HDImage), plain(p.BaseImage), plain(p.XML)}); err != nil || got != want || n.Name != "minion1" || !n.Password.Matches("sekrit") {
			t.Errorf("%s:\n%+v, %v", args, got, err)
		}
	}
}

// Each argument that can depend on properties makes instances differ.
func TestLibVirtCompatibility(t *testing.T) {
	for _, name := range []string{"hd_image", "base_image", "xml"} {
		n := declare(t, `"w", None, `+name+`=util.Property("x")`)
		p := n.Latent.Backend.(*Params)
		if !p.Varies() || !n.Latent.MayBeIncompatible {
			t.Errorf("%s: it does not vary", name)
		}
		render := func(x string) latent.Arguments {
			a, err := p.Render(t.Context(), &prop.Map{Values: map[string]any{"x": x}})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return a
		}
		if one := render("<domain a='1'/>"); one.Equal(render("<domain a='2'/>")) || !one.Equal(render("<domain a='1'/>")) {
			t.Errorf("%s: an instance of %v serves every build", name, one)
		}
	}
}

func TestLibVirtRenderErrors(t *testing.T) {
	p := paramsOf(t, `"w", None, hd_image="/a", base_image=util.Property("base"), xml=util.Property("xml")`)
	for _, c := range []struct {
		props map[string]any
		want  string
	}{
		{map[string]any{"base": int64(3)}, "render base_image: want string"},
		{map[string]any{"base": "/a"}, "hd_image: it is base_image"},
		{map[string]any{"base": "/b", "xml": "<domain>"}, "xml: "},
	} {
		if _, err := p.Render(t.Context(), &prop.Map{Values: c.props}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.props, err)
		}
	}
}

// A reload sees every argument that changes (docs/requirements.md D2.4).
func TestLibVirtContent(t *testing.T) {
	was := config.Hash(declare(t, `"w", None, "/hd", "/base"`))
	for _, args := range []string{
		`"/other", "/base"`, `"/hd", "/other"`, `"/hd", "/base", "qemu:///session"`, `"/hd", "/base", xml="<domain/>"`,
		`"/hd", "/base", cheap_copy=False`, `"/hd", "/base", graceful_shutdown=True`, `"/hd", "/base", masterFQDN="h"`,
	} {
		if config.Hash(declare(t, `"w", None, `+args)) == was {
			t.Errorf("%s changes nothing", args)
		}
	}
}

func TestURI(t *testing.T) {
	for in, want := range map[URI]string{
		"system:///": "qemu:///system", "qemu:///session": "qemu:///session", "xen:///": "xen:///", "qemu+ssh://a@h:22/system?socket=/s": "qemu+ssh://a@h:22/system?socket=/s",
	} {
		if got, err := in.resolve(); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for _, in := range []URI{"", "qemu", "qemu:", "qemu://", "/system", "://h"} {
		if got, err := in.resolve(); err == nil {
			t.Errorf("%q: %s", in, got)
		}
	}
	for uri, want := range map[string]bool{"qemu:///system": false, "qemu+unix:///system?socket=/s": false, "qemu+ssh://h/system": true, "esx://h": true} {
		if remote(uri) != want {
			t.Errorf("%s: remote is %v", uri, !want)
		}
	}
}

// What every worker has, this one has too.
func TestLibVirtCommon(t *testing.T) {
	n := declare(t, `"w", None, max_builds=2, properties={"a": 1}, defaultProperties={"b": 2}, keepalive_interval=60,
		locks=[util.MasterLock("l").access("exclusive")], machine_name="m", masterFQDN="ci:1", caps=[util.InstanceCap("c", max_instances=3)],
		check_instance_interval=3, missing_timeout=4, build_wait_timeout=5, notify_on_missing=["a@b", "c@d"]`)
	l := n.Latent
	if n.MaxBuilds != 2 || n.Properties["a"] != int64(1) || n.DefaultProperties["b"] != int64(2) || n.Keepalive != time.Minute || len(n.Locks) != 1 || n.Machine != "m" || len(n.NotifyOnMissing) != 2 {
		t.Errorf("%+v", n)
	}
	if l.MasterFQDN != "ci:1" || len(l.Caps) != 1 || l.Caps[0].MaxInstances != 3 || l.CheckEvery != 3*time.Second || l.Missing != 4*time.Second || l.BuildWait != 5*time.Second {
		t.Errorf("%+v", l)
	}
}
