package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/builtins/util"
	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/conn"
	"buildstar/conn/wire"
	"buildstar/engine/run"
	"buildstar/starlark/call"
	"buildstar/starlark/spec"
	"buildstar/state"
	"buildstar/state/logfile"
	"buildstar/state/sqlite"
	"buildstar/worker"
)

// eval runs a file and returns its globals.
func eval(t *testing.T, src string) (star.StringDict, prop.Problems) {
	t.Helper()
	env := &spec.Env{Collect: true, Function: call.Renderable}
	thread := &star.Thread{}
	env.Attach(thread)
	g, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "master.star", src,
		star.StringDict{"util": util.Module.Value(env), "steps": Module.Value(env)})
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	g.Freeze()
	env.Seal()
	return g, env.Problems()
}

// parse evaluates a file and returns the steps of its list x.
func parse(t *testing.T, src string) []config.Step {
	t.Helper()
	g, ps := eval(t, src)
	if ps != nil {
		t.Fatalf("%s: %v", src, ps)
	}
	var steps []config.Step
	list := g["x"].(*star.List)
	for i := range list.Len() {
		steps = append(steps, list.Index(i).(*spec.Object).Value.(config.Step))
	}
	return steps
}

// rig runs builds on a worker of ours that is connected through a pipe.
type rig struct {
	t       *testing.T
	store   *sqlite.Store
	logs    *logfile.Store
	locks   *run.Locks
	session conn.Session
	base    string // the master's basedir
	there   string // the worker's
	stock   bool   // the worker looks like a stock one of version 3.7.0
	env     map[string]prop.Template[any]
	tickets run.Ticket
	block   func()                    // called for each block that is uploaded
	change  func(args map[string]any) // called for each command, before it is sent
	stamps  []state.SourceStamp       // of the builds; nil is one that says nothing

	mu   sync.Mutex
	sent []conn.Command
}

type onlyHost struct{ attached chan conn.Session }

func (onlyHost) Login(string, string) error { return nil }
func (h onlyHost) Attached(s conn.Session)  { h.attached <- s }
func (onlyHost) Leaves(conn.Session)        {}
func (onlyHost) Detached(conn.Session)      {}
func (onlyHost) AttachFailed(string, error) {}

func newRig(t *testing.T) *rig {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	r := &rig{t: t, locks: run.NewLocks(func() {})}
	dir := t.TempDir()
	r.base, r.there = filepath.Join(dir, "master"), filepath.Join(dir, "w")
	var err error
	if r.store, err = sqlite.Open(t.Context(), filepath.Join(dir, "state.sqlite"), sqlite.Options{Log: quiet}); err != nil {
		t.Fatal(err)
	}
	if r.logs, err = logfile.Open(filepath.Join(dir, "logs"), logfile.Options{Log: quiet}); err != nil {
		t.Fatal(err)
	}
	host := onlyHost{make(chan conn.Session, 1)}
	server := conn.NewServer(host, conn.Options{Logger: quiet})
	a, b := wire.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { server.ServePipe(ctx, a, "w") })
	wg.Go(func() {
		worker.Serve(ctx, b, worker.Config{Name: "w", Basedir: r.there, Logger: quiet})
		b.Close("gone")
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		server.Shutdown(context.Background())
		r.logs.Close()
		r.store.Close()
	})
	r.session = <-host.attached
	return r
}

// recorder is the rig's session: it keeps what is sent.
type recorder struct {
	conn.Session
	r *rig
}

func (c recorder) Info() conn.WorkerInfo {
	info := c.Session.Info()
	if c.r.stock {
		info.Ours, info.Commands = false, map[string]string{"shell": "3.1"}
	}
	return info
}

func (c recorder) Run(ctx context.Context, cmd conn.Command) (iter.Seq2[conn.Update, error], error) {
	c.r.mu.Lock()
	c.r.sent = append(c.r.sent, cmd)
	c.r.mu.Unlock()
	if c.r.stock {
		delete(cmd.Args, "max_lines") // it does not know this
	}
	if c.r.change != nil {
		c.r.change(cmd.Args)
	}
	if c.r.block != nil && cmd.Upload != nil {
		cmd.Upload = observed{cmd.Upload, c.r.block}
	}
	return c.Session.Run(ctx, cmd)
}

// observed is a Writer that is watched.
type observed struct {
	io.Writer
	block func()
}

func (o observed) Write(p []byte) (int, error) {
	o.block()
	return o.Writer.Write(p)
}

// later is schedulers that build later.
type later struct{}

func (later) Trigger(_ context.Context, _ run.Origin, asks []run.Trigger) ([]int64, error) {
	return make([]int64, len(asks)), nil
}

func (later) Cancel(context.Context, int64, string) (int64, error) { return 0, nil }

// outcome is a build that ended.
type outcome struct {
	rig   *rig
	build state.Build
	steps []state.Step // without the preparation
	logs  []state.Log
}

// run runs a build of the steps of x.
func (r *rig) run(src string) outcome { return r.runWith(src, nil) }

// runWith also does something with the build once a log has its first line.
func (r *rig) runWith(src string, then func(*run.Build)) outcome {
	r.t.Helper()
	return r.carryOut(src, then, nil)
}

// carryOut hands over the build before it runs.
func (r *rig) carryOut(src string, then func(*run.Build), made chan<- *run.Build) outcome {
	r.t.Helper()
	b := &config.Builder{
		Name: "b", WorkerBuilddir: "b", Workers: []string{"w"}, Env: r.env, Factory: &config.Factory{Steps: parse(r.t, src)},
	}
	o := run.Order{
		Store: r.store, Logs: r.logs, Locks: r.locks, Logger: slog.New(slog.DiscardHandler), Session: recorder{r.session, r},
		Snapshot: config.New(config.Snapshot{}), Builder: b, Worker: &config.Worker{Name: "w"}, Basedir: r.base, Triggers: later{},
	}
	r.tickets++
	o.Ticket = r.tickets
	r.update(func(tx state.Tx) error {
		stamps := slices.Clone(r.stamps)
		if stamps == nil {
			stamps = []state.SourceStamp{{}}
		}
		for i := range stamps {
			var err error
			if stamps[i].ID, err = tx.AddSourceStamp(stamps[i]); err != nil {
				return err
			}
		}
		id, err := tx.PutBuilder(state.Builder{Name: "b", Active: true})
		if err != nil {
			return err
		}
		w, err := tx.PutWorker(state.Worker{Name: "w", Active: true}, "configured")
		if err != nil {
			return err
		}
		o.Buildset = state.Buildset{Results: config.Unfinished, SourceStamps: stamps}
		_, ids, err := tx.AddBuildset(o.Buildset, []state.BuildRequest{{BuilderID: id, Results: config.Unfinished}})
		if err != nil {
			return err
		}
		o.Row, err = tx.AddBuild(state.Build{BuilderID: id, RequestID: ids[0], WorkerID: w, StartedAt: 1, Results: config.Unfinished})
		return err
	})
	build := run.New(o)
	if made != nil {
		made <- build
	}
	if then != nil {
		ctx, cancel := context.WithCancel(r.t.Context())
		defer cancel()
		sub := r.store.Subscribe(ctx, "logs/*/append")
		go func() {
			for e := range sub.C {
				if l := e.Row.(state.Log); l.Name == "stdio" && strings.Contains(r.text(l, "oe"), "up\n") {
					then(build)
					return
				}
			}
		}()
	}
	out := build.Run(r.t.Context())
	r.update(func(tx state.Tx) error { return out.Write(tx) })
	res := outcome{rig: r, build: out.Row}
	r.update(func(tx state.Tx) (err error) {
		if res.steps, err = tx.Steps(state.Where("buildid", out.Row.ID)); err != nil {
			return err
		}
		res.steps = res.steps[1:]
		res.logs, err = tx.Logs(state.Where("buildid", out.Row.ID))
		return err
	})
	return res
}

func (r *rig) update(fn func(state.Tx) error) {
	r.t.Helper()
	if err := r.store.Update(context.Background(), fn); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) text(l state.Log, streams string) string {
	var out bytes.Buffer
	err := r.logs.Lines(context.Background(), l.BuildID, l.ID, 0, -1, func(run state.LogRun) error {
		if strings.IndexByte(streams, run.Stream) >= 0 {
			out.Write(run.Text)
		}
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
	return out.String()
}

// log returns the text of the first log of that name.
func (o outcome) log(name, streams string) string {
	o.rig.t.Helper()
	for _, l := range o.logs {
		if l.Name == name {
			return o.rig.text(l, streams)
		}
	}
	return "(no such log)"
}

func (o outcome) stdout() string { return o.log("stdio", "o") }

func (o outcome) names() (names []string) {
	for _, l := range o.logs {
		names = append(names, l.Name)
	}
	return names
}

// results is "name=result ..." and the build's result.
func (o outcome) results() string {
	var b strings.Builder
	for _, s := range o.steps {
		fmt.Fprintf(&b, "%s=%v ", s.Name, s.Results)
	}
	return b.String() + o.build.Results.String()
}

// one is a file with one ShellCommand that has an argument.
func one(command, args string) string {
	if args != "" {
		args = ", " + args
	}
	return fmt.Sprintf("x = [steps.ShellCommand(command=%s%s)]", command, args)
}

// step returns the newest step of that name.
func (r *rig) step(name string) (state.Step, error) {
	var rows []state.Step
	err := r.store.View(context.Background(), func(tx state.ReadTx) (err error) {
		rows, err = tx.Steps(state.Where("name", name))
		return err
	})
	if err != nil || len(rows) == 0 {
		return state.Step{}, errors.Join(err, state.ErrNotFound)
	}
	return rows[len(rows)-1], nil
}

// await returns once ok is true; it asks after each event.
func (r *rig) await(pattern state.Pattern, ok func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	sub := r.store.Subscribe(ctx, pattern)
	for !ok() {
		if _, more := <-sub.C; !more {
			r.t.Fatal("it did not happen in time")
		}
	}
}

// with is a file with one step.
func with(class, args string) string { return fmt.Sprintf("x = [steps.%s(%s)]", class, args) }

// property returns a property of the build, and its source.
func (o outcome) property(name string) (any, string) {
	o.rig.t.Helper()
	var p state.Property
	o.rig.update(func(tx state.Tx) error {
		all, err := tx.BuildProperties(o.build.ID)
		p = all[name]
		return err
	})
	return p.Value, p.Source
}

// builddir is a path below the builder's directory on the worker.
func (r *rig) builddir(elems ...string) string {
	return filepath.Join(append([]string{r.there, "b"}, elems...)...)
}

// master is a path below the master's basedir.
func (r *rig) master(elems ...string) string {
	return filepath.Join(append([]string{r.base}, elems...)...)
}

// put writes a file, with the directories above it.
func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// content returns what a file holds; "(none)" if it is not there.
func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "(none)"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// listing is what is below a directory, sorted; a directory has a slash.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, p)
		if d != nil && d.IsDir() {
			rel += "/"
		}
		if err == nil && rel != "./" {
			names = append(names, rel)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

// randomBytes are the same at each call.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}
