package libvirt

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"buildstar/internal/libvirttest"
	"buildstar/latent"
	"buildstar/latent/latenttest"
)

// server returns the libvirt of make test-libvirt.
func server(t *testing.T) *libvirttest.Server {
	t.Helper()
	dir := os.Getenv(libvirttest.Variable)
	if dir == "" {
		t.Skip("make test-libvirt runs this")
	}
	return libvirttest.Of(dir)
}

// smallDomain boots nothing: its firmware finds no system on the disk.
const smallDomain = `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>another</name><uuid>6bf9954c-2d46-4688-b54d-52e72e223c9d</uuid>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw' cache='unsafe'/><source file='/nonexistent'/><target dev='vda' bus='virtio'/></disk>
  </devices>
  <qemu:commandline><qemu:arg value='-no-user-config'/></qemu:commandline>
</domain>`

// machine is a backend at the server; args follow the name and the password, and BASE in them
// is an image.
type machine struct {
	*libvirttest.Server
	t    *testing.T
	dir  string
	base string
	env  latent.Env
	p    *Params
	b    latent.Backend
}

func newMachine(t *testing.T, args string) *machine {
	t.Helper()
	s := server(t)
	m := &machine{Server: s, t: t, dir: t.TempDir(), env: latent.Env{Master: "M" + strings.Map(letter, t.Name()), Basedir: t.TempDir()}}
	m.base = filepath.Join(m.dir, "base.qcow2")
	m.command("qemu-img", "create", "-q", "-f", "qcow2", m.base, "64M")
	m.p = paramsOf(t, fmt.Sprintf(`"w", "pw", uri=%q, %s`, s.URI(), strings.ReplaceAll(args, "BASE", m.base)))
	var err error
	if m.b, err = m.p.Open(m.env); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		refs, err := m.b.(latent.Lister).List(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, ref := range refs {
			if err := m.b.Stop(context.Background(), ref, true); err != nil {
				t.Error(err)
			}
		}
	})
	return m
}

// letter keeps what a tag may have.
func letter(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
		return r
	}
	return -1
}

func (m *machine) command(argv ...string) string {
	m.t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return string(out)
}

func (m *machine) virsh(args ...string) []string {
	m.t.Helper()
	out, err := m.Virsh(context.Background(), args...)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// alive returns how many domains say that they are of this master.
func (m *machine) alive() (n int) {
	m.t.Helper()
	for _, name := range m.virsh("list", "--all", "--name") {
		out, err := m.Virsh(context.Background(), "metadata", "--domain", name, "--uri", namespace)
		if err == nil && slices.Contains(out, `master="`+m.env.Master+`"`) {
			n++
		}
	}
	return n
}

func (m *machine) launch(worker string, attempt int64) latent.Launch {
	m.t.Helper()
	arguments, err := m.p.Render(m.t.Context(), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	settled := make(chan struct{})
	m.t.Cleanup(func() { close(settled) })
	return latent.Launch{
		Ref: latent.Ref{Worker: worker, Attempt: attempt, Arguments: arguments}, Password: "secret", Host: "10.0.2.2", Port: 9,
		Log: func(string) {}, Settled: settled,
	}
}

// TestConformance runs the suite with real domains.
func TestConformance(t *testing.T) {
	server(t)
	for name, args := range map[string]string{
		"overlay": fmt.Sprintf(`base_image="BASE", xml=%q`, smallDomain),
		"copy":    fmt.Sprintf(`base_image="BASE", cheap_copy=False, graceful_shutdown=False, xml=%q`, smallDomain),
	} {
		t.Run(name, func(t *testing.T) {
			latenttest.Exercise(t, func(t *testing.T) latenttest.Subject {
				m := newMachine(t, args)
				return latenttest.Subject{
					Params: m.p, Env: m.env,
					Alive: func(t *testing.T) int {
						n := m.alive()
						if files := left(t, m.dir, m.env.Basedir); n == 0 && len(files) > 0 {
							t.Errorf("left: %v", files)
						}
						return n
					},
					Kill: func(t *testing.T, ref latent.Ref) { m.virsh("destroy", ref.Worker) },
				}
			})
		})
	}
}

// TestPredefined starts a domain that libvirt has, and leaves its definition as it is.
func TestPredefined(t *testing.T) {
	m := newMachine(t, `base_image="BASE"`)
	const name = "predefined"
	define := filepath.Join(m.dir, "define.xml")
	text := strings.Replace(smallDomain, "<name>another</name><uuid>6bf9954c-2d46-4688-b54d-52e72e223c9d</uuid>", "<name>"+name+"</name>", 1)
	text = strings.Replace(text, "</devices>", "<serial type='pty'><target port='0'/></serial><console type='pty'><target type='serial' port='0'/></console></devices>", 1)
	if err := os.WriteFile(define, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m.virsh("define", define)
	defer m.virsh("undefine", name)
	was := m.virsh("dumpxml", "--inactive", name)
	in := m.launch(name, 1)
	s, err := m.b.Start(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	domain, err := newHost(m.URI(), programs{}).running(t.Context(), name)
	if err != nil || domain == nil {
		t.Fatal(domain, err)
	}
	if domain.first("uuid").text != s.Handle || domain.first("devices", "serial", "log").attr("file") == "" {
		t.Errorf("%s: %+v", s.Handle, domain.first("devices", "serial"))
	}
	disk := domain.all("devices", "disk")[1]
	if file := disk.first("source").attr("file"); !strings.Contains(file, name+"-"+m.env.Master+"-1") || disk.first("backingStore", "source").attr("file") != m.base {
		t.Errorf("it has the disk %s on %+v", file, disk.first("backingStore"))
	}
	in.Handle = s.Handle
	if err := m.b.Stop(t.Context(), in.Ref, false); err != nil {
		t.Fatal(err)
	}
	if is := m.virsh("dumpxml", "--inactive", name); !slices.Equal(is, was) {
		t.Errorf("the definition was\n%v\nand is\n%v", was, is)
	}
	if out := m.virsh("domstate", name); out[0] != "shut" {
		t.Errorf("it is %v", out)
	}
}

// TestManyAtOnce starts and stops the domains of many workers at once.
func TestManyAtOnce(t *testing.T) {
	m := newMachine(t, fmt.Sprintf(`base_image="BASE", xml=%q`, smallDomain))
	const workers = 6
	errs := make(chan error, workers)
	for i := range workers {
		in := m.launch(fmt.Sprintf("many%d", i), int64(i+1))
		go func() {
			b, err := m.p.Open(m.env)
			if err == nil {
				var s latent.Started
				s, err = b.Start(context.Background(), in)
				in.Handle = s.Handle
			}
			errs <- err
		}()
	}
	for range workers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := m.alive(); n != workers {
		t.Errorf("there are %d", n)
	}
}

// TestCancelledCreate ends the context of a start while libvirt makes the domain: the start knows
// what became of it when it returns.
func TestCancelledCreate(t *testing.T) {
	m := newMachine(t, fmt.Sprintf(`base_image="BASE", xml=%q`, smallDomain))
	for i, after := range []time.Duration{50, 150, 250, 350} {
		in := m.launch("w", int64(i+1))
		ctx, cancel := context.WithTimeout(t.Context(), after*time.Millisecond)
		_, err := m.b.Start(ctx, in)
		cancel()
		before := m.alive()
		if err == nil && before != 1 {
			t.Errorf("it started, and there are %d", before)
		}
		if err := m.b.Stop(t.Context(), in.Ref, true); err != nil {
			t.Fatal(err)
		}
		if n := m.alive(); n != 0 {
			t.Errorf("cut after %v ms: there are %d", int(after), n)
		}
	}
}
