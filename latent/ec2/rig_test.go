package ec2

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/latent/ec2/ec2test"
	"buildstar/starlark/spec"
)

// TestMain hides the accounts of who runs the tests.
func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "buildstar-ec2-")
	if err != nil {
		panic(err)
	}
	for name, value := range map[string]string{
		"HOME": home, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_CONFIG_FILE": filepath.Join(home, "config"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(home, "credentials"),
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	status := m.Run()
	os.RemoveAll(home)
	os.Exit(status)
}

// declare makes the node of worker.EC2LatentWorker(...).
func declare(t *testing.T, args string) *config.Worker {
	t.Helper()
	env := &spec.Env{Collect: true}
	thread := &star.Thread{}
	env.Attach(thread)
	g, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "master.star", "x = worker.EC2LatentWorker("+args+")", star.StringDict{
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

// plain are arguments that go through: the rest follows them.
const plain = `"w_1", "pw", "m5.large", identifier="AKID", secret_identifier="s3cret"`

func params(t *testing.T, args string) *Params {
	t.Helper()
	return declare(t, args).Latent.Backend.(*Params)
}

// rig is a backend at a server of its own, in a bubble whose time passes by itself.
type rig struct {
	t       *testing.T
	s       *ec2test.Server
	image   string
	p       *Params
	b       *backend
	env     latent.Env
	secrets map[string]string
	attempt int64

	mu  sync.Mutex
	log strings.Builder
}

// bubble runs a test in a bubble.
func bubble(t *testing.T, o ec2test.Options, run func(*testing.T, *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { run(t, newRig(t, o)) })
}

func newRig(t *testing.T, o ec2test.Options) *rig {
	if o.Keys == nil {
		o.Keys = map[string]string{"AKID": "s3cret"}
	}
	r := &rig{t: t, s: ec2test.New(o), secrets: map[string]string{"api": "token"}}
	r.image = r.s.AddImage(ec2test.Image{Name: "worker"})
	r.env = latent.Env{Master: "M1", Basedir: t.TempDir(), Secret: func(_ context.Context, name string) (string, error) {
		if s, ok := r.secrets[name]; ok {
			return s, nil
		}
		return "", os.ErrNotExist
	}}
	return r
}

// open makes a backend. IMAGE in args stands for the image, which is in them unless they say
// ami or valid_ami; args follow those of plain.
func (r *rig) open(args string) *rig {
	r.t.Helper()
	if !strings.Contains(args, "ami") {
		args = `ami="IMAGE", ` + args
	}
	return r.declare(plain + ", " + args)
}

func (r *rig) declare(args string) *rig {
	r.t.Helper()
	r.p = params(r.t, strings.ReplaceAll(args, "IMAGE", r.image))
	r.p.test = bench{transport: r.s.Transport()}
	r.b = reopen(r.t, r)
	return r
}

// reopen makes a backend that knows nothing of what the last one did.
func reopen(t *testing.T, r *rig) *backend {
	t.Helper()
	b, err := r.p.Open(r.env)
	if err != nil {
		t.Fatal(err)
	}
	return b.(*backend)
}

type props map[string]any

func (p props) Property(name string) (any, bool)              { v, ok := p[name]; return v, ok }
func (props) SourceStamp(string) (s prop.SourceStamp, _ bool) { return s, false }
func (props) Fact(string) (any, bool)                         { return nil, false }
func (props) Secret(context.Context, string) (string, error)  { return "the text", nil }
func (props) BuildURL() string                                { return "" }

// launch is the next start for a build with these properties.
func (r *rig) launch(properties props) (latent.Launch, error) {
	r.attempt++
	a, err := r.p.Render(r.t.Context(), properties)
	return latent.Launch{
		Ref: latent.Ref{Worker: "w_1", Attempt: r.attempt, Arguments: a}, Password: "pw", Host: "ci.test", Port: 9989,
		Properties: properties, Settled: make(chan struct{}),
		Log: func(text string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.log.WriteString(text)
		},
	}, err
}

func (r *rig) tryStart(properties props) (latent.Ref, error) {
	l, err := r.launch(properties)
	if err != nil {
		return l.Ref, err
	}
	s, err := r.b.Start(r.t.Context(), l)
	l.Ref.Handle = s.Handle
	return l.Ref, err
}

// start starts an instance, and returns what the server has.
func (r *rig) start() (latent.Ref, ec2test.Instance) {
	r.t.Helper()
	ref, err := r.tryStart(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	all := r.s.Instances(nil)
	return ref, all[len(all)-1]
}

func (r *rig) stop(ref latent.Ref, fast bool) {
	r.t.Helper()
	if err := r.b.Stop(r.t.Context(), ref, fast); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) alive(want int) {
	r.t.Helper()
	if all := r.s.Alive(map[string]string{tagMaster: "M1"}); len(all) != want {
		r.t.Errorf("there are %+v, want %d", all, want)
	}
}

// wantError checks the text of an error, and whether the build is to blame.
func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want ...%s...", err, text)
	}
}

// passes runs f and returns how much time of the bubble it took.
func passes(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin).Round(time.Second)
}

var throttled = ec2test.Fault{Status: http.StatusServiceUnavailable, Code: "RequestLimitExceeded", Message: "Request limit exceeded."}
