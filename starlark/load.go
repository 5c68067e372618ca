// Package starlark evaluates master.star: it loads the files, runs them, checks
// the graph that they declare, and makes a [config.Snapshot] of it, or says
// everything that is wrong at once.
//
// An evaluation has two phases. In the first the files run; each call of a class
// checks its arguments (package spec) and a call with problems returns a
// placeholder, so that the rest is still checked. In the second the graph is
// checked as a whole: names that are used twice or mean nothing, builders that
// nothing starts. What may only be the consequence of an earlier problem is not
// reported.
//
// Evaluation is deterministic: it sees the files at or below the directory of
// master.star and the environment variables it asks for by name, nothing else.
// Each of these inputs is part of the snapshot, so [Replay] makes an equal
// snapshot of them at any later time.
package starlark

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime/metrics"
	"time"

	star "go.starlark.net/starlark"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// Options say what an evaluation sees and how far it may go.
type Options struct {
	// Modules are the predeclared namespaces: worker, steps, util.
	Modules []*spec.Module
	// Function makes a Renderable of a user's function: call.Renderable.
	Function func(spec.Function) prop.Renderable
	// Getenv looks up an environment variable; nil is os.LookupEnv.
	Getenv func(name string) (string, bool)
	// Print gets what print(...) says; nil drops it.
	Print func(at prop.Pos, text string)
	// Basedir is what `basedir` is, an absolute directory; "" is the directory of the
	// file. Replay needs it.
	Basedir string
	// MaxSteps bounds the steps of the interpreter; 0 is [MaxSteps].
	MaxSteps uint64
	// Timeout bounds the time; 0 is [Timeout].
	Timeout time.Duration
	// MaxHeap bounds by how many bytes the heap of the process may grow; 0 is [MaxHeap].
	MaxHeap uint64
}

// MaxSteps is how many steps an evaluation may take unless Options say otherwise.
// A thousand builders of three steps take about 60,000.
const MaxSteps = 10_000_000

// Timeout is how long an evaluation may take unless Options say otherwise.
const Timeout = 30 * time.Second

// MaxHeap is by how many bytes the heap of the process may grow during an
// evaluation unless Options say otherwise.
const MaxHeap = 512 << 20

// Load evaluates the file at name. The warnings are things that work but are
// probably not meant. The error is a [prop.Problems], sorted by place; [Format]
// shows it to people.
func Load(ctx context.Context, name string, opts Options) (snapshot *config.Snapshot, warnings prop.Problems, err error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, nil, fmt.Errorf("find %s: %w", name, err)
	}
	dir, base := filepath.Split(abs)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, prop.Problems{{Code: "read-file", Pos: prop.Pos{File: base}, Text: reason(err)}}
	}
	defer root.Close()
	if opts.Basedir == "" {
		opts.Basedir = filepath.Clean(dir)
	}
	return evaluate(ctx, base, dirSource{root}, opts)
}

// Replay evaluates recorded inputs again; inputs[0] is master.star. Env are the
// variables that were asked for, nil for one that was not set.
func Replay(ctx context.Context, inputs []config.Input, env map[string]*string, opts Options) (*config.Snapshot, prop.Problems, error) {
	if len(inputs) == 0 {
		return nil, nil, prop.Problems{{Code: "read-file", Text: "there are no recorded inputs"}}
	}
	files := make(mapSource, len(inputs))
	for _, in := range inputs {
		files[in.Path] = in.Data
	}
	opts.Getenv = func(name string) (string, bool) {
		if v := env[name]; v != nil {
			return *v, true
		}
		return "", false
	}
	return evaluate(ctx, inputs[0].Path, files, opts)
}

// evaluate runs both phases.
func evaluate(ctx context.Context, main string, src source, opts Options) (*config.Snapshot, prop.Problems, error) {
	if opts.MaxSteps == 0 {
		opts.MaxSteps = MaxSteps
	}
	if opts.MaxHeap == 0 {
		opts.MaxHeap = MaxHeap
	}
	if opts.Timeout == 0 {
		opts.Timeout = Timeout
	}
	if opts.Getenv == nil {
		opts.Getenv = os.LookupEnv
	}
	ctx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()

	e := newEvaluation(main, src, opts)
	stop := e.bound(ctx)
	globals, ok := e.file(main)
	stop()
	snapshot := e.snapshot(globals, ok)
	e.env.Seal()
	warnings, problems := e.diagnose()
	if len(problems) > 0 {
		return nil, warnings, problems
	}
	return snapshot, warnings, nil
}

// An evaluation is one run over a set of files. It belongs to one goroutine.
type evaluation struct {
	opts     Options
	main     string
	src      source
	thread   *star.Thread
	env      *spec.Env
	names    star.StringDict // predeclared in every file
	files    map[string]*file
	inputs   []config.Input // in the order they were first read
	environ  map[string]*string
	unset    []string       // variables that were asked for without a default
	loading  []string       // the files being executed, outermost first
	kept     []*spec.Object // nodes, listed or not
	triggers []*spec.Object // steps that trigger schedulers
	warnings prop.Problems
	warned   map[warningKey]bool
}

func newEvaluation(main string, src source, opts Options) *evaluation {
	e := &evaluation{
		opts: opts, main: path.Clean(main), src: src,
		files: make(map[string]*file), environ: make(map[string]*string),
	}
	e.thread = &star.Thread{
		Name: main,
		Print: func(t *star.Thread, msg string) {
			if opts.Print != nil {
				opts.Print(callerPos(t, 1), msg)
			}
		},
		Load:       e.load,
		OnMaxSteps: func(t *star.Thread) { t.Cancel(stepLimit) },
	}
	e.thread.SetMaxExecutionSteps(opts.MaxSteps)
	e.env = &spec.Env{Function: opts.Function, Collect: true, Syntax: e.definition}
	e.env.Keep = func(o *spec.Object) {
		if _, ok := o.Value.(config.Node); ok {
			e.kept = append(e.kept, o)
		}
		if _, ok := o.Value.(config.Triggering); ok {
			e.triggers = append(e.triggers, o)
		}
	}
	e.env.Warn = e.warn
	e.env.Attach(e.thread)
	e.names = e.predeclared()
	return e
}

// Why an evaluation was stopped, as Thread.Cancel is told.
const (
	stepLimit = "step-limit"
	timeLimit = "time-limit"
	heapLimit = "memory-limit"
	cancelled = "cancelled"
)

// bound stops the evaluation when ctx ends or the heap grows too much.
func (e *evaluation) bound(ctx context.Context) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		before := heap()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-ctx.Done():
				if ctx.Err() == context.DeadlineExceeded {
					e.thread.Cancel(timeLimit)
				} else {
					e.thread.Cancel(cancelled)
				}
				return
			case <-tick.C:
				if heap() > before+e.opts.MaxHeap {
					e.thread.Cancel(heapLimit)
					return
				}
			}
		}
	}()
	return func() { close(ended); <-done }
}

// heap returns the bytes of live and unswept objects.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// callerPos returns the place in the frame at depth of t.
func callerPos(t *star.Thread, depth int) prop.Pos {
	if depth >= t.CallStackDepth() {
		return prop.Pos{}
	}
	p := t.CallFrame(depth).Pos
	return prop.Pos{File: p.Filename(), Line: int(p.Line), Col: int(p.Col)}
}
