package libvirt

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"buildstar/internal/libvirttest"
	"buildstar/latent"
)

// patient bounds what guests take: they run without KVM.
const patient = 5 * time.Minute

// guest is buildstar, static, and a guest that runs its worker.
var guest = sync.OnceValues(func() (g struct {
	libvirttest.Guest
	buildstar string
}, err error) {
	dir, err := os.MkdirTemp("", "buildstar-guest-")
	if err != nil {
		return g, err
	}
	g.buildstar = filepath.Join(dir, "buildstar")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", g.buildstar, "buildstar")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return g, fmt.Errorf("build buildstar: %w\n%s", err, out)
	}
	g.Guest, err = libvirttest.MakeGuest(dir, g.buildstar)
	return g, err
})

func TestMain(m *testing.M) {
	if socket := os.Getenv(relayVariable); socket != "" {
		os.Exit(relay(socket))
	}
	status := m.Run()
	if os.Getenv(libvirttest.Variable) != "" {
		if g, err := guest(); err == nil {
			os.RemoveAll(filepath.Dir(g.buildstar))
		}
	}
	os.Exit(status)
}

// guestDomain boots the guest; network is its <interface>, or nothing.
func guestDomain(t *testing.T, network, cmdline string) string {
	t.Helper()
	g, err := guest()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`<domain type='qemu'><memory unit='MiB'>256</memory>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>%s</kernel><initrd>%s</initrd><cmdline>console=ttyS0 quiet panic=-1 %s</cmdline></os>
<features><acpi/></features><devices>%s</devices></domain>`, g.Kernel, g.Initrd, cmdline, network)
}

const userNetwork = `<interface type='user'><model type='virtio'/></interface>`

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patient)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// booted starts a guest without a master; log returns what was logged.
func (m *machine) booted() (ref latent.Ref, log func() string) {
	m.t.Helper()
	in := m.launch("guest", 1)
	var mu sync.Mutex
	var text strings.Builder
	in.Log = func(s string) {
		mu.Lock()
		defer mu.Unlock()
		text.WriteString(s)
	}
	s, err := m.b.Start(m.t.Context(), in)
	if err != nil {
		m.t.Fatal(err)
	}
	in.Handle = s.Handle
	return in.Ref, func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
}

// TestGuestShutdown asks a real system to shut down.
func TestGuestShutdown(t *testing.T) {
	server(t)
	m := newMachine(t, fmt.Sprintf(`base_image="BASE", graceful_shutdown=True, xml=%q`, guestDomain(t, userNetwork, "")))
	ref, log := m.booted()
	eventually(t, "the worker of the guest to dial", func() bool { return strings.Contains(log(), "not connected to the master") })
	if err := m.b.Stop(t.Context(), ref, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the button to be pressed", func() bool { return strings.Contains(log(), "console: guest: the button was pressed") })
	if n := m.alive(); n != 0 {
		t.Errorf("there are %d", n)
	}
}

// TestGuestEnds is about one that ends before its worker connects: what it printed says why.
func TestGuestEnds(t *testing.T) {
	server(t)
	m := newMachine(t, fmt.Sprintf(`base_image="BASE", xml=%q`, guestDomain(t, "", "")))
	ref, _ := m.booted()
	message := ""
	eventually(t, "the guest to end", func() bool {
		good, text, err := m.b.(latent.Checker).Check(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		message = text
		return !good
	})
	if !strings.Contains(message, `domain "guest" ended; its last lines:`) || !strings.Contains(message, "guest: the end: address of") {
		t.Error(message)
	}
}

// TestGuest drives the worker from master.star, while the master is killed, too: every build has a
// fresh disk, and nothing is left.
func TestGuest(t *testing.T) {
	m := newMachine(t, `base_image="BASE"`)
	c := newMaster(t, m)
	c.start()
	for range 2 {
		c.passes(c.force())
	}
	request := c.force()
	eventually(t, "the domain of the build", func() bool { return c.domains() == 1 })
	c.kill()
	c.start()
	c.passes(request)
	request = c.force()
	eventually(t, "the build to run", func() bool { return c.building(request) })
	c.kill()
	c.start()
	c.passes(request)
	c.force() // and a stop while it starts
	eventually(t, "the domain of the last build", func() bool { return c.domains() == 1 })
	c.stop()
	if n := c.domains(); n != 0 {
		t.Errorf("%d domains are left", n)
	}
	if files := left(t, m.dir, filepath.Join(c.dir, "libvirt")); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
}

// ciMaster is a master with one builder, whose builds run in the guest.
type ciMaster struct {
	*machine
	dir string
	web int
	cmd *exec.Cmd
	log *buffer
}

// buffer is written to by a process while it is read.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newMaster(t *testing.T, m *machine) *ciMaster {
	t.Helper()
	c := &ciMaster{machine: m, dir: t.TempDir(), web: freePort(t), log: &buffer{}}
	text := fmt.Sprintf(`
c = {
    "workers": [worker.LibVirtWorker("ci-guest", None, base_image = %q, uri = %q, xml = %q, masterFQDN = "10.0.2.2", build_wait_timeout = 0)],
    "protocols": {"msgpack_experimental_v7": {"port": "tcp:%d:interface=127.0.0.1"}},
    "builders": [util.BuilderConfig("b", workernames = ["ci-guest"], factory = util.BuildFactory([
        steps.ShellCommand(command = ["/init", "disk"]), steps.ShellCommand(command = ["/buildstar", "version"])]))],
    "schedulers": [schedulers.ForceScheduler("force", ["b"])],
    "collapseRequests": False,
    "www": {"port": "tcp:%d:interface=127.0.0.1"},
}`, m.base, m.URI(), guestDomain(t, userNetwork, ""), freePort(t), c.web)
	if err := os.WriteFile(filepath.Join(c.dir, "master.star"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.cmd != nil {
			c.stop()
		}
		if t.Failed() {
			log := c.log.String()
			t.Logf("the master's log:\n%s", log[max(0, len(log)-20000):])
		}
	})
	return c
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start returns when the master says that it runs.
func (c *ciMaster) start() {
	c.t.Helper()
	g, err := guest()
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd = exec.Command(g.buildstar, "start", "-v", c.dir)
	c.cmd.Stderr = c.log
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "buildstar is running") {
		c.t.Fatalf("start printed %q, %v\n%s", line, err, c.log)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
}

func (c *ciMaster) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // it was killed
	c.cmd = nil
}

func (c *ciMaster) stop() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("the master ended with %v", err)
	}
	c.cmd = nil
}

// domains returns how many run.
func (c *ciMaster) domains() int {
	c.t.Helper()
	n := 0
	for _, name := range c.virsh("list", "--name") {
		if name == "ci-guest" {
			n++
		}
	}
	return n
}

func (c *ciMaster) url(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d/api/v2/%s", c.web, path)
}

// get reads rows of the REST interface.
func (c *ciMaster) get(path string, rows any) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(path), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	if text, ok := rows.(*string); ok {
		body, err := io.ReadAll(res.Body)
		if *text = string(body); err != nil {
			c.t.Fatal(err)
		}
		return
	}
	if err := json.NewDecoder(res.Body).Decode(rows); err != nil || res.StatusCode != http.StatusOK {
		c.t.Fatalf("GET %s: %s, %v", path, res.Status, err)
	}
}

// force asks for a build and returns its request.
func (c *ciMaster) force() (request int64) {
	c.t.Helper()
	body := `{"jsonrpc": "2.0", "id": 1, "method": "force", "params": {"builderid": 1}}`
	res, err := http.Post(c.url("forceschedulers/force"), "application/json", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Result []json.RawMessage }
	var requests map[string]int64
	err = json.NewDecoder(res.Body).Decode(&answer)
	if err == nil && len(answer.Result) == 2 {
		err = json.Unmarshal(answer.Result[1], &requests)
	}
	if err != nil || len(requests) != 1 {
		c.t.Fatalf("force: %s, %v", res.Status, err)
	}
	for _, request = range requests {
	}
	return request
}

type ciBuild struct {
	BuildID  int64
	Complete bool
	Results  int
}

func (c *ciMaster) builds(request int64) []ciBuild {
	c.t.Helper()
	var found struct{ Builds []ciBuild }
	c.get(fmt.Sprintf("builds?buildrequestid=%d", request), &found)
	return found.Builds
}

// building reports whether a build of a request is past its preparation.
func (c *ciMaster) building(request int64) bool {
	c.t.Helper()
	for _, b := range c.builds(request) {
		var found struct {
			Steps []struct{ Number int }
		}
		c.get(fmt.Sprintf("builds/%d/steps", b.BuildID), &found)
		if len(found.Steps) > 1 {
			return true
		}
	}
	return false
}

// passes waits for the build of a request, which must succeed on a fresh disk.
func (c *ciMaster) passes(request int64) {
	c.t.Helper()
	var done ciBuild
	eventually(c.t, fmt.Sprintf("request %d", request), func() bool {
		for _, b := range c.builds(request) {
			const retry = 5
			if b.Complete && b.Results != retry {
				done = b
			}
		}
		return done.Complete
	})
	if done.Results != 0 {
		c.t.Errorf("build %d ended with %d", done.BuildID, done.Results)
	}
	var found struct {
		Steps []struct{ StepID int64 }
	}
	c.get(fmt.Sprintf("builds/%d/steps", done.BuildID), &found)
	printed := ""
	for _, s := range found.Steps {
		var logs struct{ Logs []struct{ LogID int64 } }
		c.get(fmt.Sprintf("steps/%d/logs", s.StepID), &logs)
		for _, l := range logs.Logs {
			text := ""
			c.get(fmt.Sprintf("logs/%d/raw", l.LogID), &text)
			printed += text
		}
	}
	for _, want := range []string{"console: guest: I am [BUILDMASTER=10.0.2.2 ", "fresh\n", "buildstar "} {
		if !strings.Contains(printed, want) {
			c.t.Errorf("build %d did not print %q:\n%s", done.BuildID, want, printed)
		}
	}
}
