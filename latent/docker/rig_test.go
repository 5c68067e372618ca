package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/internal/dockertest"
	"buildstar/latent"
	"buildstar/starlark/spec"
)

const patient = 2 * time.Minute // for anything the engine does

func TestMain(m *testing.M) { os.Exit(dockertest.Main(m)) }

// declare makes the node of worker.DockerLatentWorker(...).
func declare(t *testing.T, args string) *config.Worker {
	t.Helper()
	env := &spec.Env{Collect: true}
	thread := &star.Thread{}
	env.Attach(thread)
	g, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "master.star", "x = worker.DockerLatentWorker("+args+")", star.StringDict{
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

// rig is one backend at a real engine, with an image `guest-TEST`.
type rig struct {
	t       *testing.T
	ctx     context.Context
	b       latent.Backend
	params  *Params
	env     latent.Env
	api     *client.Client // to see for ourselves
	log     logged
	settled chan struct{}
	attempt int64
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (l *logged) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(s)
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// newRig makes a backend; args follow the name, the password and the host.
func newRig(t *testing.T, args string) *rig {
	t.Helper()
	r := &rig{t: t, env: latent.Env{Master: "M" + strings.ReplaceAll(t.Name(), "/", ""), Basedir: t.TempDir()}, settled: make(chan struct{})}
	r.log.more = make(chan struct{}, 1)
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithTimeout(context.Background(), patient)
	t.Cleanup(cancel)
	var err error
	if r.api, err = client.NewClientWithOpts(client.WithHost(dockertest.Host()), client.WithAPIVersionNegotiation()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.api.Close() })
	r.declare(args)
	t.Cleanup(func() {
		refs, err := r.list()
		for _, ref := range refs {
			if err := r.b.Stop(r.ctx, ref, true); err != nil {
				t.Error(err)
			}
		}
		if err != nil {
			t.Error(err)
		}
		if err := r.b.(*backend).Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", &r.log)
		}
	})
	return r
}

// declare makes another backend from other arguments. HOST and GUEST in them stand for the
// engine and an image of the guest.
func (r *rig) declare(args string) {
	r.t.Helper()
	args = strings.NewReplacer("HOST", dockertest.Host(), "GUEST", guestImage(r.t)).Replace(args)
	if !strings.Contains(args, "docker_host") {
		args = fmt.Sprintf("docker_host=%q, %s", dockertest.Host(), args)
	}
	r.params = declare(r.t, `"w_1", None, `+args).Latent.Backend.(*Params)
	var err error
	if r.b, err = r.params.Open(r.env); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) list() ([]latent.Ref, error) { return r.b.(latent.Lister).List(r.ctx) }

// launch is a start for a build with these properties.
func (r *rig) launch(properties map[string]any) (latent.Launch, error) {
	r.attempt++
	a, err := r.params.Render(r.ctx, props(properties))
	return latent.Launch{
		Ref: latent.Ref{Worker: "w_1", Attempt: r.attempt, Arguments: a}, Password: "pw", Host: "10.0.0.1", Port: 9989,
		Properties: properties, Log: r.log.add, Settled: r.settled,
	}, err
}

// start starts a container.
func (r *rig) start() latent.Ref {
	r.t.Helper()
	ref, err := r.tryStart(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return ref
}

func (r *rig) tryStart(properties map[string]any) (latent.Ref, error) {
	l, err := r.launch(properties)
	if err != nil {
		return l.Ref, err
	}
	s, err := r.b.Start(r.ctx, l)
	ref := l.Ref
	ref.Handle = s.Handle
	return ref, err
}

// ended waits for the container of an instance to end and returns what it printed.
func (r *rig) ended(ref latent.Ref) string {
	r.t.Helper()
	id, _, _ := strings.Cut(ref.Handle, "@")
	done, failed := r.api.ContainerWait(r.ctx, id, container.WaitConditionNotRunning)
	select {
	case <-done:
	case err := <-failed:
		r.t.Fatal(err)
	}
	e, _, err := r.b.(*backend).locate(ref)
	if err != nil {
		r.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := e.output(r.ctx, id, &out, 0, false); err != nil {
		r.t.Fatal(err)
	}
	return out.String()
}

// inspect looks at the container of an instance.
func (r *rig) inspect(ref latent.Ref) container.InspectResponse {
	r.t.Helper()
	id, _, _ := strings.Cut(ref.Handle, "@")
	c, err := r.api.ContainerInspect(r.ctx, id)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// waitLog waits until the log has a text.
func (r *rig) waitLog(want string) {
	r.t.Helper()
	for !strings.Contains(r.log.String(), want) {
		select {
		case <-r.log.more:
		case <-r.ctx.Done():
			r.t.Fatalf("the log has no %q:\n%s", want, &r.log)
		}
	}
}

// props are the properties of a build.
type props map[string]any

func (p props) Property(name string) (any, bool)                 { v, ok := p[name]; return v, ok }
func (p props) SourceStamp(string) (s prop.SourceStamp, ok bool) { return s, false }
func (p props) Fact(string) (any, bool)                          { return nil, false }
func (p props) BuildURL() string                                 { return "" }
func (p props) Secret(context.Context, string) (string, error) {
	return "", fmt.Errorf("no secrets here")
}

// guest is the program of testdata/guest, built once.
var guest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "guest")
	build := exec.Command("go", "build", "-o", path, "./testdata/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the guest: %w\n%s", err, out)
	}
	return os.ReadFile(path)
})

// archive makes a tar archive of the guest and a Dockerfile.
func archive(t *testing.T, dockerfile string) []byte {
	t.Helper()
	program, err := guest()
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{{"Dockerfile", 0o644, []byte(dockerfile)}, {"guest", 0o755, program}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

const guestDockerfile = "FROM scratch\nCOPY guest /guest\nENTRYPOINT [\"/guest\"]\n"

var guestOnce sync.Mutex

// guestImage sees to it that the engine has the image of the guest.
func guestImage(t *testing.T) string {
	t.Helper()
	guestOnce.Lock()
	defer guestOnce.Unlock()
	e, err := connect(dockertest.Host(), "", TLS{}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	const name = "guest:test"
	if id, err := e.image(t.Context(), name); err != nil || id != "" {
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	err = e.build(t.Context(), bytes.NewReader(archive(t, guestDockerfile)), recipe{tag: name}, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	return name
}
