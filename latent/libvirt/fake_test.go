package libvirt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/starlark/spec"
)

// declare makes the node of worker.LibVirtWorker(...).
func declare(t *testing.T, args string) *config.Worker {
	t.Helper()
	env := &spec.Env{Collect: true}
	thread := &star.Thread{}
	env.Attach(thread)
	g, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "master.star", "x = worker.LibVirtWorker("+args+")", star.StringDict{
		"worker": worker.Module.With(Worker).Value(env), "util": util.Module.Value(env),
	})
	if err != nil {
		t.Fatal(err)
	}
	if ps := env.Problems(); ps != nil {
		t.Fatal(ps)
	}
	return g["x"].(*spec.Object).Value.(*config.Worker)
}

func paramsOf(t *testing.T, args string) *Params {
	t.Helper()
	return declare(t, args).Latent.Backend.(*Params)
}

// plainDomain is a definition with a disk.
const plainDomain = `<domain type='kvm'>
  <memory unit='GiB'>1</memory>
  <os><type arch='x86_64'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw' cache='unsafe'/><source file='/srv/old.img'/><target dev='vda'/></disk>
  </devices>
</domain>`

// fake is a libvirt in memory, and a qemu-img that copies.
type fake struct {
	mu      sync.Mutex
	domains map[string]*fakeDomain // that run
	defined map[string]string
	calls   [][]string
	// answer, if it is not nil, answers a command in the place of the fake.
	answer func(argv []string) (string, error, bool)
	ids    int
}

type fakeDomain struct{ xml, state string }

func newFake() *fake {
	return &fake{domains: map[string]*fakeDomain{}, defined: map[string]string{}}
}

func (f *fake) run(ctx context.Context, c command) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, c.argv)
	if f.answer != nil {
		if out, err, ok := f.answer(c.argv); ok {
			return out, err
		}
	}
	switch c.argv[0] {
	case "qemu-img":
		return f.image(c.argv[1:])
	case "cp":
		return "", copyFile(c.argv[len(c.argv)-2], c.argv[len(c.argv)-1])
	}
	if len(c.argv) < 5 || !slices.Equal(c.argv[:3], []string{"virsh", "--quiet", "--connect"}) {
		return "9.0.0\n", nil // virsh --version
	}
	return f.virsh(c.argv[4:], c.stdin)
}

func (f *fake) image(argv []string) (string, error) {
	file := argv[len(argv)-1]
	if argv[0] == "create" {
		return "", copyFile(argv[slices.Index(argv, "-b")+1], file)
	}
	if _, err := os.Stat(file); err != nil {
		return "", err
	}
	return `{"virtual-size": 1073741824, "format": "qcow2"}`, nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o644)
	}
	return err
}

func (f *fake) virsh(argv []string, stdin string) (string, error) {
	name := argv[len(argv)-1]
	switch argv[0] {
	case "version":
		return "Using library: libvirt 9.0.0\nRunning hypervisor: QEMU 7.2.22\n", nil
	case "list":
		if slices.Contains(argv, "--persistent") {
			return strings.Join(keys(f.defined), "\n") + "\n\n", nil
		}
		return strings.Join(keys(f.domains), "\n") + "\n\n", nil
	case "create":
		return "", f.create(stdin, slices.Contains(argv, "--paused"))
	case "dumpxml":
		if slices.Contains(argv, "--inactive") {
			return f.defined[name], nil
		}
	case "net-info":
		return "Name:           " + name + "\nActive:         no\n", nil
	case "capabilities":
		return "<capabilities><guest><arch name='x86_64'><domain type='qemu'/></arch></guest></capabilities>", nil
	}
	d := f.domains[name]
	if d == nil {
		return "", fmt.Errorf("failed to get domain '%s'", name)
	}
	switch argv[0] {
	case "dumpxml":
		return d.xml, nil
	case "resume":
		d.state = "running (unpaused)"
		return "", nil
	case "domstate":
		return d.state + "\n\n", nil
	case "destroy", "shutdown":
		delete(f.domains, name)
		return "", nil
	}
	return "", fmt.Errorf("unknown command %v", argv)
}

func (f *fake) create(text string, paused bool) error {
	d, err := parseDomain(text)
	if err != nil {
		return err
	}
	name := d.first("name").text
	if f.domains[name] != nil {
		return fmt.Errorf("domain '%s' is already active", name)
	}
	if disk := d.first("devices", "disk", "source").attr("file"); disk != "" && disk != "/srv/old.img" {
		if _, err := os.Stat(disk); err != nil {
			return err
		}
	}
	if !d.first("uuid").has() {
		f.ids++
		s := &edits{text: text}
		s.add(d, fmt.Sprintf("<uuid>00000000-0000-4000-8000-%012d</uuid>", f.ids))
		text = s.done()
	}
	state := "running (booted)"
	if paused {
		state = "paused (starting up)"
	}
	f.domains[name] = &fakeDomain{text, state}
	return nil
}

func keys[V any](m map[string]V) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// called returns the calls of a command.
func (f *fake) called(name string) (calls [][]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, argv := range f.calls {
		if slices.Contains(argv, name) {
			calls = append(calls, argv)
		}
	}
	return calls
}

// rig is a backend at a fake.
type rig struct {
	t    *testing.T
	fake *fake
	b    latent.Backend
	env  latent.Env
	base string // an image

	mu      sync.Mutex
	log     strings.Builder
	settled chan struct{}
}

// newRig makes a backend; args follow the name "w" and the password. BASE and DIR in them stand
// for an image and a directory.
func newRig(t *testing.T, args string) *rig {
	t.Helper()
	r := &rig{t: t, fake: newFake(), env: latent.Env{Master: "M1", Basedir: t.TempDir()}, settled: make(chan struct{})}
	t.Cleanup(func() { close(r.settled) })
	r.base = filepath.Join(t.TempDir(), "base.qcow2")
	if err := os.WriteFile(r.base, []byte("base"), 0o644); err != nil {
		t.Fatal(err)
	}
	args = strings.NewReplacer("BASE", r.base, "DIR", filepath.Dir(r.base), "XML", fmt.Sprintf("xml=%q", plainDomain)).Replace(args)
	p := paramsOf(t, `"w", "pw", `+args)
	p.exec = r.fake
	var err error
	if r.b, err = p.Open(r.env); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) launch(attempt int64) latent.Launch {
	r.t.Helper()
	arguments, err := r.b.(*backend).params.Render(r.t.Context(), &prop.Map{})
	if err != nil {
		r.t.Fatal(err)
	}
	return latent.Launch{
		Ref: latent.Ref{Worker: "w", Attempt: attempt, Arguments: arguments}, Password: `p"w$`, Host: "10.0.2.2", Port: 9989,
		Log: func(s string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.log.WriteString(s)
		},
		Settled: r.settled,
	}
}

func (r *rig) start(attempt int64) (latent.Ref, error) {
	r.t.Helper()
	in := r.launch(attempt)
	s, err := r.b.Start(r.t.Context(), in)
	in.Handle = s.Handle
	return in.Ref, err
}

func (r *rig) mustStart(attempt int64) latent.Ref {
	r.t.Helper()
	ref, err := r.start(attempt)
	if err != nil {
		r.t.Fatal(err)
	}
	return ref
}

func (r *rig) stop(ref latent.Ref, fast bool) {
	r.t.Helper()
	if err := r.b.Stop(r.t.Context(), ref, fast); err != nil {
		r.t.Fatal(err)
	}
}

// domain returns what runs as "w".
func (r *rig) domain() *element {
	r.t.Helper()
	d, err := newHost("qemu:///system", r.fake).running(context.Background(), "w")
	if err != nil {
		r.t.Fatal(err)
	}
	if d == nil {
		r.t.Fatal("the domain does not run")
	}
	return d
}

func (r *rig) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}
