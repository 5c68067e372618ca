package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"buildstar/internal/dockertest"
	"buildstar/latent"
)

// docs/requirements.md B5: what the container is given, and what it is called.
func TestDockerStart(t *testing.T) {
	r := newRig(t, `image="GUEST", command=["env"]`)
	l, err := r.launch(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.b.Start(r.ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	ref := l.Ref
	ref.Handle = s.Handle
	want := "BUILDMASTER=10.0.0.1\nBUILDMASTER_PORT=9989\nBUILDMASTER_PROTOCOL=msgpack_experimental_v7\nWORKERNAME=w_1\nWORKERPASS=pw\n"
	if got := r.ended(ref); got != want {
		t.Errorf("the container has\n%s", got)
	}
	c := r.inspect(ref)
	if want := "/buildbot-w-1-" + sum(r.env.Master, 3); c.Name != want {
		t.Errorf("called %s, want %s", c.Name, want)
	}
	if !slices.Equal(s.Info, []string{c.ID[:12], "guest:test"}) {
		t.Errorf("info %q", s.Info)
	}
	if l := c.Config.Labels; l[labelMaster] != r.env.Master || l[labelWorker] != "w_1" || l[labelAttempt] != "1" {
		t.Errorf("labels %v", l)
	}
	if c.HostConfig.AutoRemove {
		t.Error("the engine removes the container by itself")
	}
	if i := c.HostConfig.Init; i == nil || !*i {
		t.Error("there is no init")
	}
}

func TestDockerEnvironment(t *testing.T) {
	for want, l := range map[string]latent.Launch{
		"BUILDMASTER=fd00::1":         {Host: "fd00::1"},
		"BUILDMASTER=wss://ci.test":   {Host: "ci.test", TLS: true},
		"BUILDMASTER=wss://[fd00::1]": {Host: "fd00::1", TLS: true},
	} {
		if got := environment(l)[0]; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// An earlier master may have left a container of the same name (B5).
func TestDockerLeftovers(t *testing.T) {
	r := newRig(t, `image="GUEST"`)
	first := r.start()
	second := r.start()
	refs, err := r.list()
	if err != nil || len(refs) != 1 || refs[0].Handle != second.Handle || refs[0].Attempt != 2 || refs[0].Worker != "w_1" {
		t.Errorf("there are %+v, %v; want %+v", refs, err, second)
	}
	if good, message, err := r.b.(latent.Checker).Check(r.ctx, first); good || err != nil || !strings.Contains(message, "is gone") {
		t.Errorf("check of the first: %v, %q, %v", good, message, err)
	}
}

func TestDockerStop(t *testing.T) {
	for _, fast := range []bool{false, true} {
		r := newRig(t, `image="GUEST"`)
		ref := r.start()
		lost := ref
		lost.Handle = "" // the answer to Start was lost
		for _, ref := range []latent.Ref{lost, ref, ref, lost} {
			if err := r.b.Stop(r.ctx, ref, fast); err != nil {
				t.Error(err)
			}
			if refs, err := r.list(); err != nil || len(refs) != 0 {
				t.Errorf("left after stop(fast=%v): %v, %v", fast, refs, err)
			}
		}
		// Another attempt is none of its business.
		next := r.start()
		if err := r.b.Stop(r.ctx, lost, fast); err != nil {
			t.Error(err)
		}
		if good, _, err := r.b.(latent.Checker).Check(r.ctx, next); !good || err != nil {
			t.Errorf("the next instance is gone: %v", err)
		}
	}
}

// A Start whose arguments were no good made nothing, and Stop knows.
func TestDockerStopOfNothing(t *testing.T) {
	r := newRig(t, `image="GUEST"`)
	if err := r.b.Stop(r.ctx, latent.Ref{Worker: "w_1", Attempt: 1}, false); err != nil {
		t.Error(err)
	}
}

// Stop needs no more of the configuration than the kind (D1 pain 6).
func TestDockerStopElsewhere(t *testing.T) {
	r := newRig(t, `image="GUEST"`)
	ref := r.start()
	r.declare(`docker_host="tcp://127.0.0.1:1", image="other"`)
	if err := r.b.Stop(r.ctx, ref, true); err != nil {
		t.Error(err)
	}
	r.declare(`image="GUEST"`)
	if refs, err := r.list(); err != nil || len(refs) != 0 {
		t.Errorf("left: %v, %v", refs, err)
	}
}

// docs/requirements.md A13.2, B5: a container that ended will never connect.
func TestDockerCheck(t *testing.T) {
	r := newRig(t, `image="GUEST"`)
	check := r.b.(latent.Checker).Check
	ref := r.start()
	if good, message, err := check(r.ctx, ref); !good || message != "" || err != nil {
		t.Errorf("while it runs: %v, %q, %v", good, message, err)
	}
	r.declare(`image="GUEST", command=["lines"]`)
	ref = r.start()
	r.ended(ref)
	good, message, err := check(r.ctx, ref)
	if good || err != nil || !strings.Contains(message, "exited with status 3; its last lines:\nline 51\n") || !strings.HasSuffix(message, "line 150\n") ||
		strings.Count(message, "\n") != 1+lastLines {
		t.Errorf("%v, %q, %v", good, message, err)
	}
}

func TestDockerFollowStartupLogs(t *testing.T) {
	r := newRig(t, `image="GUEST", followStartupLogs=True`)
	ref := r.start()
	id, _, _ := strings.Cut(ref.Handle, "@")
	r.waitLog("container " + id[:12] + ": waiting\n")
	close(r.settled)
	r.b.(*backend).wg.Wait() // nothing follows any more, though the container goes on
	if good, _, err := r.b.(latent.Checker).Check(r.ctx, ref); !good || err != nil {
		t.Errorf("the container ended: %v", err)
	}
	quiet := newRig(t, `image="GUEST", command=["lines"]`)
	quiet.ended(quiet.start())
	if strings.Contains(quiet.log.String(), "line") {
		t.Errorf("followed without followStartupLogs: %s", &quiet.log)
	}
}

func TestDockerCommandAndHostname(t *testing.T) {
	r := newRig(t, `image="GUEST", command=["hostname"], hostname=util.Interpolate("host-%(prop:n)s")`)
	ref, err := r.tryStart(map[string]any{"n": "7"})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.ended(ref); got != "host-7 <nil>\n" {
		t.Errorf("hostname %q", got)
	}
}

func TestDockerVolumes(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, fmt.Sprintf(`image="GUEST", command=["write", "/out/file"], volumes=["%s:/out"]`, dir))
	if out := r.ended(r.start()); out != "" {
		t.Errorf("write: %s", out)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(data) != "hello" {
		t.Errorf("%q, %v", data, err)
	}
	r.declare(fmt.Sprintf(`image="GUEST", command=["write", "/out/more"], volumes=["%s:/out:ro"]`, dir))
	if out := r.ended(r.start()); !strings.Contains(out, "read-only") {
		t.Errorf("write where it may read only: %s", out)
	}
}

func TestDockerHostConfig(t *testing.T) {
	r := newRig(t, `image="GUEST", command=["pid"], hostconfig={"init": False, "shm_size": "32m", "cap_add": ["SYS_PTRACE"], "tmpfs": ["/tmp:size=1m"],
		"extra_hosts": {"ci": "10.0.0.1"}, "ulimits": [{"name": "nofile", "soft": 99, "hard": 100}, {"name": "nproc", "hard": 1000}], "log_config": {"type": "json-file", "config": {"max-size": "1m"}}}`)
	ref := r.start()
	if pid := r.ended(ref); pid != "1\n" {
		t.Errorf("the command has the number %s without init", pid)
	}
	h := r.inspect(ref).HostConfig
	if h.ShmSize != 32<<20 || len(h.CapAdd) != 1 || !strings.HasPrefix(h.Tmpfs["/tmp"], "size=1m") || !slices.Equal(h.ExtraHosts, []string{"ci:10.0.0.1"}) ||
		len(h.Ulimits) != 2 || h.Ulimits[0].Soft != 99 || h.LogConfig.Type != "json-file" {
		t.Errorf("%+v", h)
	}
	if v, err := r.api.ServerVersion(r.ctx); err != nil || h.LogConfig.Config["max-size"] != "1m" && v.Components[0].Name != "Podman Engine" { // which does not tell
		t.Errorf("log options %v of %+v, %v", h.LogConfig.Config, v, err)
	}
	r.declare(`image="GUEST", command=["pid"]`)
	if pid := r.ended(r.start()); pid == "1\n" {
		t.Error("there is no init")
	}
}

// The engine is asked at each call: one that is away is nobody's fault but its own (A9.5).
func TestDockerHostAway(t *testing.T) {
	r := newRig(t, `docker_host="unix:///nowhere/at/all", image="GUEST"`)
	_, err := r.tryStart(nil)
	if err == nil || errors.Is(err, latent.ErrCannotSubstantiate) {
		t.Errorf("start: %v", err)
	}
	if err := r.b.Stop(r.ctx, latent.Ref{Worker: "w_1", Attempt: 1, Handle: "x@unix:///nowhere/at/all"}, false); err == nil {
		t.Error("stop says that the container is gone")
	}
	if refs, err := r.list(); err == nil {
		t.Errorf("list: %v", refs)
	}
	r.declare(`image="GUEST"`) // for the end of the test
}

// docs/requirements.md B5: docker_host is renderable, and List knows those that were used,
// by this master or by earlier ones.
func TestDockerHostOfBuild(t *testing.T) {
	r := newRig(t, `docker_host=util.Property("engine"), image="GUEST"`)
	if !r.params.Varies() {
		t.Error("it does not vary")
	}
	ref, err := r.tryStart(map[string]any{"engine": dockertest.Host()})
	if err != nil {
		t.Fatal(err)
	}
	if refs, err := r.list(); err != nil || len(refs) != 1 || refs[0].Handle != ref.Handle {
		t.Errorf("list: %v, %v", refs, err)
	}
	r.env.Instances = func(context.Context) ([]latent.Ref, error) {
		return []latent.Ref{{Handle: "x@unix:///nowhere"}, {Arguments: ref.Arguments}, {Arguments: latent.Arguments{"image": "i"}}}, nil
	}
	r.declare(`docker_host=util.Property("engine"), image="GUEST"`)
	if refs, err := r.list(); err == nil || len(refs) != 1 || refs[0].Handle != ref.Handle {
		t.Errorf("list at the engines of earlier builds, one of which is away: %v, %v", refs, err)
	}
	r.env.Instances = func(context.Context) ([]latent.Ref, error) { return []latent.Ref{ref}, nil }
	r.declare(`docker_host=util.Property("engine"), image="GUEST"`)
	ref.Handle = ""
	if err := r.b.Stop(r.ctx, ref, true); err != nil {
		t.Error(err)
	}
	if refs, err := r.list(); err != nil || len(refs) != 0 {
		t.Errorf("left: %v, %v", refs, err)
	}
	if _, err := r.tryStart(map[string]any{"engine": "ftp://h"}); err == nil || !strings.Contains(err.Error(), "docker_host") {
		t.Errorf("start: %v", err)
	}
}

// A start that is cut short leaves nothing that Stop does not find.
func TestDockerStartIsCut(t *testing.T) {
	r := newRig(t, `image="GUEST"`)
	for wait := range 10 {
		l, err := r.launch(nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(r.ctx)
		cut := time.AfterFunc(time.Duration(wait)*20*time.Millisecond, cancel)
		_, err = r.b.Start(ctx, l)
		cut.Stop()
		cancel()
		if err != nil && errors.Is(err, latent.ErrCannotSubstantiate) {
			t.Errorf("the build is blamed: %v", err)
		}
		if err := r.b.Stop(r.ctx, l.Ref, true); err != nil {
			t.Error(err)
		}
		if refs, err := r.list(); err != nil || len(refs) != 0 {
			t.Errorf("left: %v, %v", refs, err)
		}
	}
}

// What another master started is not ours.
func TestDockerOtherMaster(t *testing.T) {
	r := newRig(t, `image="GUEST"`)
	ours := r.start()
	other := newRig(t, `image="GUEST"`)
	other.env.Master = "Other"
	other.declare(`image="GUEST"`)
	theirs := other.start()
	if refs, err := r.list(); err != nil || len(refs) != 1 || refs[0].Handle != ours.Handle {
		t.Errorf("list: %v, %v", refs, err)
	}
	if other.inspect(theirs).State.Status != container.StateRunning {
		t.Error("the other master's container is gone")
	}
}
