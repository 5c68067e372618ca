package libvirt

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"buildstar/latent"
)

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func (r *rig) files() []string { return left(r.t, filepath.Dir(r.base), r.env.Basedir) }

// A start makes a disk on top of the base image, reads the domain back and lets it run; a stop
// removes all of it (docs/requirements.md A11.12, D1 pain 29).
func TestLibVirtStart(t *testing.T) {
	r := newRig(t, `base_image="BASE", XML`)
	ref := r.mustStart(7)
	d := r.domain()
	disk := filepath.Join(filepath.Dir(r.base), "w-M1-7.qcow2")
	if ref.Handle != d.first("uuid").text || d.first("devices", "disk", "source").attr("file") != disk || !exists(disk) {
		t.Errorf("%s: %s", ref.Handle, d.first("devices", "disk", "source").attr("file"))
	}
	if argv := r.fake.called("create"); !slices.Contains(argv[0], r.base) || !slices.Contains(argv[0], "qcow2") || !slices.Contains(argv[1], "--paused") {
		t.Errorf("%v", argv)
	}
	if state := r.fake.domains["w"].state; state != "running (unpaused)" {
		t.Errorf("it is %s", state)
	}
	r.stop(ref, false)
	if len(r.fake.domains) > 0 || len(r.files()) > 0 || !exists(r.base) || len(r.fake.called("shutdown")) > 0 {
		t.Errorf("left: %v, %v", r.fake.domains, r.files())
	}
}

func TestLibVirtPassword(t *testing.T) {
	r := newRig(t, `XML`)
	r.mustStart(1)
	if auth := r.domain().first("metadata", authName); auth.attr("password") != `p"w$` || auth.attr("username") != "w" || auth.attr("master") != "10.0.2.2:9989" {
		t.Errorf("%+v", auth.attrs)
	}
}

// Without cheap_copy the disk is a copy in the format of the base image.
func TestLibVirtCheapCopy(t *testing.T) {
	r := newRig(t, `base_image="BASE", cheap_copy=False, XML`)
	r.mustStart(1)
	if argv := r.fake.called("cp"); len(argv) != 1 || len(r.fake.called("-b")) > 0 {
		t.Errorf("%v", argv)
	}
}

// hd_image is made anew, whatever is there, and removed at the stop.
func TestLibVirtHDImage(t *testing.T) {
	r := newRig(t, `"DIR/hd.img", "BASE", XML`)
	hd := filepath.Join(filepath.Dir(r.base), "hd.img")
	if err := os.WriteFile(hd, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	ref := r.mustStart(1)
	if data, err := os.ReadFile(hd); err != nil || string(data) != "base" || r.domain().first("devices", "disk", "source").attr("file") != hd {
		t.Errorf("%s, %v", data, err)
	}
	r.stop(ref, true)
	if exists(hd) {
		t.Error("it is still there")
	}
}

// A disk that is in use, or is not ours, is neither overwritten nor removed.
func TestHDImageInUse(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(r *rig, hd string)
		want    string
	}{
		"locked": {func(r *rig, hd string) {
			r.fake.answer = func(argv []string) (string, error, bool) {
				return "", errors.New("Failed to get shared \"write\" lock"), argv[0] == "qemu-img" && argv[1] == "info" && argv[2] == hd
			}
		}, "overwrite"},
		"directory": {func(r *rig, hd string) {
			if err := errors.Join(os.Remove(hd), os.Mkdir(hd, 0o755)); err != nil {
				r.t.Fatal(err)
			}
		}, "is no file"},
		"running": {func(r *rig, hd string) {
			r.fake.domains["w"] = &fakeDomain{xml: `<domain><name>w</name></domain>`, state: "running (booted)"}
		}, "this master did not start it"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, `"DIR/hd.img", "BASE", XML`)
			hd := filepath.Join(filepath.Dir(r.base), "hd.img")
			if err := os.WriteFile(hd, []byte("theirs"), 0o644); err != nil {
				t.Fatal(err)
			}
			c.prepare(r, hd)
			ref, err := r.start(1)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatal(err)
			}
			r.stop(ref, false)
			if !exists(hd) || name == "running" && r.fake.domains["w"] == nil {
				t.Error("it is gone")
			}
		})
	}
}

// Without base_image the domain must have the disk that hd_image names.
func TestLibVirtDiskOfItsOwn(t *testing.T) {
	r := newRig(t, `"/srv/old.img", XML`)
	r.stop(r.mustStart(1), false)
	r = newRig(t, `"/srv/other.img", XML`)
	if _, err := r.start(1); err == nil || !strings.Contains(err.Error(), `does not have the disk /srv/other.img, but /srv/old.img`) {
		t.Error(err)
	}
	if s := r.fake.domains["w"].state; !strings.HasPrefix(s, "paused") {
		t.Errorf("it is %s", s)
	}
}

// libvirt may make something else of a definition than it says.
func TestReadBack(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"disk":     {"w-M1-1.qcow2'/>", "else.qcow2'/>", "does not have the disk"},
		"metadata": {"attempt='1'", "attempt='9'", "lost its metadata"},
		"base":     {"<target dev='vda'/>", "<backingStore type='file'><source file='/else'/></backingStore><target dev='vda'/>", "is on top of /else, want"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, `base_image="BASE", XML`)
			r.fake.answer = func(argv []string) (string, error, bool) {
				d := r.fake.domains["w"]
				if d == nil || !slices.Contains(argv, "dumpxml") {
					return "", nil, false
				}
				return strings.ReplaceAll(d.xml, c.from, c.to), nil, true
			}
			ref, err := r.start(1)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatal(err)
			}
			if !strings.HasPrefix(r.fake.domains["w"].state, "paused") {
				t.Error("it ran")
			}
			r.fake.answer = nil
			r.stop(ref, false)
			if len(r.fake.domains) > 0 || len(r.files()) > 0 {
				t.Errorf("left: %v, %v", r.fake.domains, r.files())
			}
		})
	}
}

// The definition that libvirt has is used as long as there is no xml.
func TestLibVirtXML(t *testing.T) {
	r := newRig(t, `base_image="BASE"`)
	if _, err := r.start(1); err == nil || !strings.Contains(err.Error(), `qemu:///system defines no "w"`) {
		t.Error(err)
	}
	r.fake.defined["w"] = strings.Replace(plainDomain, "<memory", "<name>w</name><uuid>u-1</uuid><memory", 1)
	if ref := r.mustStart(2); ref.Handle != "u-1" {
		t.Errorf("%s", ref.Handle)
	}
}

// A start ends what an earlier one left under its name.
func TestLeftOver(t *testing.T) {
	r := newRig(t, `base_image="BASE", XML`)
	r.mustStart(1)
	r.mustStart(2)
	if files := r.files(); len(files) != 3 || !strings.Contains(r.logged(), `destroy domain "w", which an earlier start left`) {
		t.Errorf("%v\n%s", files, r.logged())
	}
	if i, ok := instanceOf(r.domain()); !ok || i.attempt != 2 {
		t.Errorf("%+v", i)
	}
}

// A stop leaves alone what another attempt, another master or nobody started.
func TestStopOfOthers(t *testing.T) {
	r := newRig(t, `XML`)
	ref := r.mustStart(2)
	old := ref
	old.Attempt = 1
	r.stop(old, true)
	other := *r.b.(*backend)
	other.env.Master = "M2"
	if err := other.Stop(t.Context(), ref, true); err != nil {
		t.Fatal(err)
	}
	r.domain()
}

// An instance that Lister found is stopped without its arguments, also if the basedir was lost.
func TestStopOfStray(t *testing.T) {
	r := newRig(t, `base_image="BASE", XML`)
	r.mustStart(1)
	if err := os.RemoveAll(r.env.Basedir); err != nil {
		t.Fatal(err)
	}
	refs, err := r.b.(latent.Lister).List(t.Context())
	if err != nil || len(refs) != 1 || refs[0].Attempt != 1 || refs[0].Worker != "w" {
		t.Fatalf("%+v, %v", refs, err)
	}
	r.stop(refs[0], false)
	if len(r.fake.domains) > 0 || len(r.files()) > 0 {
		t.Errorf("left: %v, %v", r.fake.domains, r.files())
	}
}

// A master that is killed while it makes the disk leaves one without a domain.
func TestStopWithoutDomain(t *testing.T) {
	r := newRig(t, `base_image="BASE", XML`)
	r.fake.answer = func(argv []string) (string, error, bool) {
		return "", errors.New("killed"), slices.Contains(argv, "--paused")
	}
	ref, err := r.start(1)
	if err == nil || len(r.files()) != 3 {
		t.Fatalf("%v: %v", err, r.files())
	}
	r.stop(ref, false)
	if len(r.files()) > 0 {
		t.Errorf("left: %v", r.files())
	}
}

// What cannot be asked is not taken for gone.
func TestUnreachable(t *testing.T) {
	r := newRig(t, `base_image="BASE", XML`)
	ref := r.mustStart(1)
	r.fake.answer = func([]string) (string, error, bool) { return "", errors.New("failed to connect"), true }
	if err := r.b.Stop(t.Context(), ref, false); err == nil {
		t.Error("the stop succeeded")
	}
	if good, _, err := r.b.(latent.Checker).Check(t.Context(), ref); good || err == nil {
		t.Error("it is good")
	}
	if _, err := r.b.(latent.Lister).List(t.Context()); err == nil {
		t.Error("it lists nothing")
	}
	r.fake.answer = nil
	r.fake.answer = func(argv []string) (string, error, bool) {
		return "", errors.New("the daemon is busy"), slices.Contains(argv, "destroy") || slices.Contains(argv, "dumpxml")
	}
	if err := r.b.Stop(t.Context(), ref, false); err == nil {
		t.Error("the stop of one that lives succeeded")
	}
}

// With graceful_shutdown the system is asked first, for a minute; a fast stop asks nobody.
func TestLibVirtGracefulShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, `graceful_shutdown=True, XML`)
		r.stop(r.mustStart(1), false)
		if len(r.fake.called("shutdown")) != 1 {
			t.Error("it was not asked")
		}
		r.fake.calls = nil
		r.stop(r.mustStart(2), true)
		if len(r.fake.called("shutdown")) != 0 {
			t.Error("a fast stop asked")
		}
		r.fake.answer = func(argv []string) (string, error, bool) { return "", nil, slices.Contains(argv, "shutdown") }
		ref := r.mustStart(3)
		begin := time.Now()
		r.stop(ref, false)
		if took := time.Since(begin); took < patience || took > patience+time.Second || len(r.fake.domains) > 0 {
			t.Errorf("deaf: %v, %v", took, r.fake.domains)
		}
	})
}

// What the domain prints is in the log of the start, and explains its end.
func TestConsole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, `XML`)
		ref := r.mustStart(1)
		console := r.domain().first("devices", "serial", "log").attr("file")
		f, err := os.OpenFile(console, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, s := range []string{"\x1b[1mBIOS\x1b[0m\r\n\r\nker", "nel panic\n"} {
			if _, err := f.WriteString(s); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if got := r.logged(); got != "console: BIOS\nconsole: kernel panic\n" {
			t.Errorf("%q", got)
		}
		check := func() (bool, string) {
			good, message, err := r.b.(latent.Checker).Check(t.Context(), ref)
			if err != nil {
				t.Error(err)
			}
			return good, message
		}
		if good, message := check(); !good {
			t.Error(message)
		}
		r.fake.domains["w"].state = "paused (I/O error)"
		if good, message := check(); good || !strings.HasPrefix(message, `domain "w" is paused (I/O error); its last lines:`) {
			t.Error(message)
		}
		delete(r.fake.domains, "w")
		if good, message := check(); good || message != "domain \"w\" ended; its last lines:\nBIOS\n\nkernel panic" {
			t.Errorf("%q", message)
		}
	})
}

// Calls for a worker wait for programs of a master that was killed.
func TestLock(t *testing.T) {
	r := newRig(t, `XML`)
	lock, err := lockWorker(t.Context(), r.b.(*backend).dir(), "w")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := programs{}.run(t.Context(), command{argv: []string{"sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"}, lock: lock})
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	orphan, err := strconv.Atoi(strings.TrimSpace(pid))
	if err != nil {
		t.Fatal(err)
	}
	short, end := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer end()
	if err := r.b.Stop(short, latent.Ref{Worker: "w", Attempt: 1}, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := syscall.Kill(orphan, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.stop(latent.Ref{Worker: "w", Attempt: 1}, true)
}

// Programs end with their context, and what they complain of is the error.
func TestPrograms(t *testing.T) {
	for script, want := range map[string]string{
		"echo out": "", "echo 'error: no domain' >&2; echo 'error: really' >&2; exit 1": ": no domain: really", "exit 3": ": exit status 3",
	} {
		out, err := programs{}.run(t.Context(), command{argv: []string{"sh", "-c", script}})
		if want == "" && (err != nil || out != "out\n") || want != "" && (err == nil || !strings.HasSuffix(err.Error(), want)) {
			t.Errorf("%s: %q, %v", script, out, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := (programs{}).run(t.Context(), command{argv: []string{"virsh"}}); err == nil || !strings.Contains(err.Error(), "Debian has it in libvirt-clients") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (programs{}).run(ctx, command{argv: []string{"/bin/sleep", "1000"}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestExamine(t *testing.T) {
	examine := func(r *rig) map[string]latent.Finding {
		found := map[string]latent.Finding{}
		r.b.(latent.Doctor).Examine(t.Context(), func(f latent.Finding) { found[f.Check] = f })
		return found
	}
	r := newRig(t, `base_image="BASE"`)
	r.fake.defined["w"] = strings.Replace(plainDomain, "<devices>", "<devices><interface type='network'><source network='default'/></interface>", 1)
	found := examine(r)
	for check, health := range map[string]latent.Health{
		"virsh": latent.Fine, "reach qemu:///system": latent.Fine, "domain": latent.Fine, "network default": latent.Ill, "kvm": latent.Ill, "base_image": latent.Fine,
	} {
		if f, ok := found[check]; !ok || f.Health != health || f.Text == "" || f.Health != latent.Fine && f.Fix == "" {
			t.Errorf("%s: %+v", check, f)
		}
	}
	if f := found["storage"]; f.Health == latent.Ill || !strings.Contains(f.Text, "GiB are free") {
		t.Errorf("%+v", f)
	}
	if f := found["reach qemu:///system"]; f.Text != "libvirt 9.0.0, QEMU 7.2.22" {
		t.Errorf("%+v", f)
	}
	r.fake.domains["w"] = &fakeDomain{xml: "<domain><name>w</name></domain>"}
	delete(r.fake.defined, "w")
	r.fake.answer = func(argv []string) (string, error, bool) { return "", errors.New("no"), argv[0] == "qemu-img" }
	if found = examine(r); found["domain"].Health != latent.Ill || found["base_image"].Health != latent.Ill {
		t.Errorf("%+v", found)
	}
	r.fake.answer = func([]string) (string, error, bool) { return "", errors.New("no"), true }
	if found = examine(r); len(found) != 1 || found["virsh"].Health != latent.Ill {
		t.Errorf("%+v", found)
	}
	r = newRig(t, `base_image=util.Property("b"), XML`)
	r.fake.domains["w"] = &fakeDomain{xml: "<domain><name>w</name></domain>"}
	if found = examine(r); found["base_image"].Health != latent.Doubtful || found["name"].Health != latent.Ill {
		t.Errorf("%+v", found)
	}
}
