package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/conn"
	"buildstar/state"
)

// Running is one step of one build while it runs: what a [Step] sees of the world.
// It is also the prop.Props of everything that is rendered for the step. Methods
// are called by the step's goroutine only, but those of prop.Props by any.
type Running struct {
	*Table
	b        *Build
	step     Step
	name     string
	row      *stepRow
	start    state.Step // the row before it is opened
	slugs    map[string]bool
	logs     []*Log
	doing    string  // description while it runs
	done     string  // and after
	said     [2]bool // doing and done are the user's
	suffix   string  // of both
	extra    string  // why it ended as it did: "timed out"
	urls     []state.URL
	result   config.Result
	commands int64 // sent so far
	base     int64 // number of the build's newest command before this step
	ids      []string
	named    bool
	locked   bool                  // its locks are held
	uploaded bool                  // files of a worker that would send them again
	lost     bool                  // the connection was, so that the step must be run again
	heard    map[string]*execution // its commands by id, as far as they came before that
	past     map[string]*Log       // logs of an earlier run of the step, by slug
	before   state.Properties
	printed  *Log   // what functions of the user print
	remote   string // what the worker said was wrong with a command
}

func newRunning(b *Build, step Step) *Running {
	r := &Running{Table: b.props, b: b, step: step, slugs: map[string]bool{}, heard: map[string]*execution{}, result: config.Unfinished, base: b.seq}
	r.start = state.Step{
		BuildID: b.o.Row.ID, Number: int64(len(b.steps)), StartedAt: state.Now(), Results: config.Unfinished,
	}
	if !step.Common().Locks.IsSet() {
		r.start.LocksAcquiredAt = r.start.StartedAt
	}
	b.steps = append(b.steps, r)
	return r
}

// StepName returns the name of the step, unique within the build.
func (r *Running) StepName() string { return r.name }

// StepNumber returns the number of the step; the first of the factory is 1.
func (r *Running) StepNumber() int64 { return r.start.Number }

// StepResult returns how the step ended; Unfinished before that.
func (r *Running) StepResult() config.Result { return r.result }

// BuildResult returns the result of the build so far.
func (r *Running) BuildResult() config.Result { return r.b.overall }

// Builder returns the builder, which must not be changed.
func (r *Running) Builder() *config.Builder { return r.b.o.Builder }

// Worker returns what the worker said about itself.
func (r *Running) Worker() conn.WorkerInfo { return r.b.worker() }

// BuildID and BuildNumber name the build.
func (r *Running) BuildID() int64     { return r.b.o.Row.ID }
func (r *Running) BuildNumber() int64 { return r.b.o.Row.Number }

// SourceStamps returns the sources of the build, which must not be changed.
func (r *Running) SourceStamps() []state.SourceStamp { return r.b.o.Buildset.SourceStamps }

// SetProperty sets a property of the build.
func (r *Running) SetProperty(name string, value any, source string) {
	r.Table.put(name, value, source)
	r.b.rows.setProperties(state.Properties{name: {Value: value, Source: source}})
}

// AddURL adds a link to the step.
func (r *Running) AddURL(name, url string) {
	r.SetURLs(append(slices.Clone(r.urls), state.URL{Name: name, URL: url}))
}

// SetURLs replaces the links of the step by others, which must not be changed.
func (r *Running) SetURLs(urls []state.URL) {
	if !slices.Equal(r.urls, urls) {
		r.urls = urls
		r.update(func(row *state.Step) { row.URLs = urls })
	}
}

// Describe says what the step is doing now, and what it did once it is done. The
// user's description and descriptionDone win.
func (r *Running) Describe(doing, done string) {
	if done == "" {
		done = doing
	}
	if !r.said[0] {
		r.doing = doing
	}
	if !r.said[1] {
		r.done = done
	}
	if text := r.runningText(); r.row == nil {
		r.open()
	} else if r.row.row.StateString != text {
		r.update(func(row *state.Step) { row.StateString = text })
	}
}

// Because says in two or three words why the step ends as it does: "timed out".
func (r *Running) Because(why string) { r.extra = why }

// Workdir returns the step's directory on the worker, absolute.
func (r *Running) Workdir(ctx context.Context) (string, error) {
	dir := "build"
	for _, t := range []prop.Template[string]{r.step.Common().Workdir, r.b.o.Builder.Factory.Workdir} {
		if t.IsSet() {
			var err error
			if dir, err = t.Render(ctx, r); err != nil {
				return "", fmt.Errorf("render workdir: %w", err)
			}
			break
		}
	}
	return r.WorkerPath(r.Builddir(), dir), nil
}

// Builddir returns the builder's directory on the worker, absolute.
func (r *Running) Builddir() string {
	info := r.Worker()
	return Join(info.System, info.Basedir, WorkerBuilddir(r.b.o.Builder))
}

// WorkerPath returns a path on the worker; a relative one is below dir.
func (r *Running) WorkerPath(dir, path string) string {
	return Join(r.Worker().System, dir, path)
}

// HomePath is [Running.WorkerPath] for the files of transfers, where ~ is the home of
// who runs the worker (docs/protocol.md A.6).
func (r *Running) HomePath(dir, path string) (string, error) {
	if rest, ok := cutHome(path); ok {
		env := r.Worker().Environ
		home := env["HOME"]
		if r.Worker().System == "nt" {
			home = env["USERPROFILE"]
		}
		if home == "" {
			return "", fmt.Errorf("path %q: the worker has told no home directory", path)
		}
		return r.WorkerPath(home, rest), nil
	}
	return r.WorkerPath(dir, path), nil
}

// MasterPath returns a path on the master; a relative one is below the master's
// basedir, and ~ is the home of who runs the master.
func (r *Running) MasterPath(path string) (string, error) {
	dir := r.b.o.Basedir
	if rest, ok := cutHome(path); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("path %q: %w", path, err)
		}
		dir, path = home, rest
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	return filepath.Join(dir, path), nil
}

// open makes the step's row if there is none yet.
func (r *Running) open() {
	if r.row == nil {
		r.start.Name = r.name
		if r.start.StateString == "" {
			r.start.StateString = r.runningText()
		}
		r.row = r.b.rows.addStep(r.start)
	}
}

func (r *Running) update(change func(*state.Step)) {
	r.open()
	change(&r.row.row)
	r.b.rows.putStep(r.row, "updated")
}

func (r *Running) runningText() string {
	if r.doing == "" {
		return "running"
	}
	return clip(r.doing+r.suffix, 1024)
}
