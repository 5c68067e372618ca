package openstack

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/starlark/call"
	"buildstar/starlark/spec"
)

// evaluate evaluates a file whose x is worker.OpenStackLatentWorker(...).
func evaluate(t *testing.T, file string) *config.Worker {
	t.Helper()
	env := &spec.Env{Collect: true, Function: call.Renderable}
	thread := &star.Thread{}
	env.Attach(thread)
	g, err := star.ExecFileOptions(&syntax.FileOptions{While: true, Recursion: true}, thread, "master.star", file, star.StringDict{
		"worker": worker.Module.With(Worker).Value(env), "util": util.Module.Value(env),
		"fail_to_substantiate": refuser(false), "cannot_substantiate": refuser(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	if ps := env.Problems(); ps != nil {
		t.Fatal(ps)
	}
	return g["x"].(*spec.Object).Value.(*config.Worker)
}

// refuser stands for the functions of master.star that give up.
func refuser(cannot bool) *star.Builtin {
	return star.NewBuiltin("refuse", func(_ *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
		text, _ := star.AsString(args[0])
		return nil, &prop.Refusal{Text: text, Cannot: cannot}
	})
}

// declare makes the node of worker.OpenStackLatentWorker(...).
func declare(t *testing.T, args string) *config.Worker {
	t.Helper()
	return evaluate(t, "x = worker.OpenStackLatentWorker("+args+")")
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(s)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// rig is one backend at a cloud.
type rig struct {
	t       *testing.T
	ctx     context.Context
	params  *Params
	env     latent.Env
	b       *backend
	log     logged
	attempt int64
}

// patient bounds what a test waits for.
const patient = 10 * time.Minute

// open makes a backend.
func (r *rig) open(p *Params) {
	r.t.Helper()
	r.params = p
	b, err := p.Open(r.env)
	if err != nil {
		r.t.Fatal(err)
	}
	r.b = b.(*backend)
}

// launch is a start for a build with these properties.
func (r *rig) launch(properties map[string]any) (latent.Launch, error) {
	r.attempt++
	a, err := r.params.Render(r.ctx, props(properties))
	return latent.Launch{
		Ref: latent.Ref{Worker: "w_1", Attempt: r.attempt, Arguments: a}, Password: "pw", Host: "10.0.0.1", Port: 9989,
		Properties: properties, Log: r.log.add, Settled: make(chan struct{}),
	}, err
}

func (r *rig) tryStart(properties map[string]any) (latent.Ref, latent.Started, error) {
	l, err := r.launch(properties)
	if err != nil {
		return l.Ref, latent.Started{}, err
	}
	s, err := r.b.Start(r.ctx, l)
	ref := l.Ref
	ref.Handle = s.Handle
	return ref, s, err
}

// start starts a server.
func (r *rig) start() latent.Ref {
	r.t.Helper()
	ref, _, err := r.tryStart(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return ref
}

func (r *rig) stop(ref latent.Ref) {
	r.t.Helper()
	if err := r.b.Stop(r.ctx, ref, false); err != nil {
		r.t.Errorf("stop: %v", err)
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

// hanging is a function that never returns by itself.
type hanging struct{}

func (hanging) Render(ctx context.Context, _ prop.Props) (any, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}
func (hanging) AppendCanonical(dst []byte) []byte { return dst }
