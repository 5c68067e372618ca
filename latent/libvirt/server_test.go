package libvirt

import (
	"context"
	"fmt"
	"io"
	"net"
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

// machine is a backend at the server.
type machine struct {
	*libvirttest.Server
	t    *testing.T
	dir  string
	base string
	env  latent.Env
	p    *Params
	b    latent.Backend
}

// newMachine makes a backend; args follow the name and the password, and BASE in them is an image.
func newMachine(t *testing.T, args string) *machine {
	t.Helper()
	return machineAt(t, server(t).URI(), args)
}

func machineAt(t *testing.T, uri, args string) *machine {
	t.Helper()
	m := &machine{Server: server(t), t: t, dir: t.TempDir(), env: latent.Env{Master: "M" + strings.Map(letter, t.Name()), Basedir: t.TempDir()}}
	m.base = filepath.Join(m.dir, "base.qcow2")
	m.command("qemu-img", "create", "-q", "-f", "qcow2", m.base, "64M")
	m.p = paramsOf(t, fmt.Sprintf(`"w", "pw", %s, uri=%q`, strings.ReplaceAll(args, "BASE", m.base), uri))
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
	conforms(t, func(t *testing.T) *machine {
		return newMachine(t, fmt.Sprintf(`base_image="BASE", xml=%q`, smallDomain))
	})
}

// TestConformanceRemote does so as if libvirt were on another machine.
func TestConformanceRemote(t *testing.T) {
	server(t)
	conforms(t, func(t *testing.T) *machine {
		return newRemote(t, fmt.Sprintf(`base_image="BASE", xml=%q`, smallDomain))
	})
}

func conforms(t *testing.T, newMachine func(*testing.T) *machine) {
	latenttest.Exercise(t, func(t *testing.T) latenttest.Subject {
		m := newMachine(t)
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
}

// relayVariable makes the test binary what ssh runs on another machine: it connects its input and
// output to a socket.
const relayVariable = "BUILDSTAR_TEST_RELAY"

func relay(socket string) int {
	c, err := net.Dial("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		_, _ = io.Copy(c, os.Stdin)
		_ = c.(*net.UnixConn).CloseWrite()
	}()
	_, _ = io.Copy(os.Stdout, c)
	return 0
}

// newRemote is newMachine through an ssh that goes nowhere else, with a storage pool.
func newRemote(t *testing.T, args string) *machine {
	t.Helper()
	s := server(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(s.Dir(), "run", "libvirt-sock")
	ssh := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(ssh, []byte(fmt.Sprintf("#!/bin/sh\n%s='%s' exec '%s'\n", relayVariable, socket, self)), 0o755); err != nil {
		t.Fatal(err)
	}
	m := machineAt(t, fmt.Sprintf("qemu+ssh://farm/system?socket=%s&command=%s&no_tty=1", socket, ssh), args)
	m.virsh("pool-create-as", m.env.Master, "dir", "--target", m.dir)
	t.Cleanup(func() { m.virsh("pool-destroy", m.env.Master) })
	return m
}

// TestCopies makes whole copies, here and on another machine, and takes a place that is free only.
func TestCopies(t *testing.T) {
	server(t)
	for name, newMachine := range map[string]func(*testing.T, string) *machine{"here": newMachine, "remote": newRemote} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, fmt.Sprintf(`base_image="BASE", cheap_copy=False, xml=%q`, smallDomain))
			in := m.launch("w", 1)
			if _, err := m.b.Start(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			disk := filepath.Join(m.dir, "w-"+m.env.Master+"-1.qcow2")
			if out := m.command("qemu-img", "info", "--force-share", disk); strings.Contains(out, "backing file") {
				t.Error(out)
			}
			if err := m.b.Stop(t.Context(), in.Ref, false); err != nil || exists(disk) {
				t.Errorf("%v; the disk is there: %v", err, exists(disk))
			}
		})
	}
	m := newRemote(t, fmt.Sprintf(`"BASE.hd", "BASE", xml=%q`, smallDomain))
	m.virsh("vol-create-as", m.env.Master, "base.qcow2.hd", "1M")
	in := m.launch("w", 1)
	if _, err := m.b.Start(t.Context(), in); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Error(err)
	}
	if err := m.b.Stop(t.Context(), in.Ref, false); err != nil || !exists(m.base+".hd") {
		t.Errorf("%v; the disk is there: %v", err, exists(m.base+".hd"))
	}
}

// TestDoctorRemote examines a libvirt whose pool there is, and one whose pool is not.
func TestDoctorRemote(t *testing.T) {
	m := newRemote(t, fmt.Sprintf(`base_image="BASE", xml=%q`, smallDomain))
	examine := func(b latent.Backend) map[string]latent.Finding {
		found := map[string]latent.Finding{}
		b.(latent.Doctor).Examine(t.Context(), func(f latent.Finding) { found[f.Check] = f })
		return found
	}
	found := examine(m.b)
	for _, check := range []string{"virsh", "domain", "base_image", "storage"} {
		if f, ok := found[check]; !ok || f.Health == latent.Ill {
			t.Errorf("%s: %+v", check, f)
		}
	}
	if f := found["base_image"]; f.Text != "qcow2, 0.1 GiB" {
		t.Errorf("%+v", f)
	}
	uri := string(m.p.URI)
	other := paramsOf(t, fmt.Sprintf(`"w", None, base_image="/nonexistent", uri=%q, xml=%q`, uri, smallDomain))
	b, err := other.Open(m.env)
	if err != nil {
		t.Fatal(err)
	}
	if f := examine(b)["base_image"]; f.Health != latent.Ill || !strings.Contains(f.Text, "active storage pool") {
		t.Errorf("%+v", f)
	}
}

// TestTestDriver uses the driver of libvirt that runs nothing: what is not qemu's works as well.
func TestTestDriver(t *testing.T) {
	s := server(t)
	hold := exec.Command("virsh", "--connect", s.TestURI()) // its domains live as long as a connection
	in, err := hold.StdinPipe()
	if err == nil {
		err = hold.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = hold.Wait()
	}()
	m := machineAt(t, s.TestURI(), `xml="<domain type='test'><memory>1024</memory><os><type>hvm</type></os></domain>"`)
	launch := m.launch("w", 1)
	ended := func() bool {
		good, _, err := m.b.(latent.Checker).Check(t.Context(), launch.Ref)
		return err == nil && !good
	}
	if !ended() {
		t.Error("it runs before its start")
	}
	if _, err := m.b.Start(t.Context(), launch); err != nil {
		t.Fatal(err)
	}
	refs, err := m.b.(latent.Lister).List(t.Context())
	if err != nil || len(refs) != 1 || refs[0].Worker != "w" || ended() {
		t.Errorf("%+v, %v", refs, err)
	}
	if err := m.b.Stop(t.Context(), launch.Ref, false); err != nil || !ended() {
		t.Error(err)
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
