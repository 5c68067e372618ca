package run

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/conn/wire"
	"buildstar/state"
)

// memory is a store that keeps no rows and gives ids.
type memory struct{ state.Store }

func (m memory) Publish(...state.Event) {}
func (m memory) Defer(fn func(state.Tx) error, done func(error)) {
	if err := fn(ids{}); done != nil {
		done(err)
	}
}

type ids struct{ state.Tx }

func (ids) AddStep(state.Step) (int64, error)           { return 1, nil }
func (ids) PutStep(state.Step, string) error            { return nil }
func (ids) AddLog(state.Log) (int64, error)             { return 1, nil }
func (ids) PutBuild(state.Build, string) error          { return nil }
func (ids) SetProperties(int64, state.Properties) error { return nil }

// segments keeps the places that came with the lines.
type segments struct {
	state.LogStore
	segment
	updates []int64
}

type segment struct{ state.LogSegment }

func (s *segments) Close() error                              { return nil }
func (s *segments) OpenBuild(int64) (state.LogSegment, error) { return s, nil }
func (s *segments) Append(_ int64, at state.Resume, _ ...state.LogRun) error {
	s.updates = append(s.updates, at.Update)
	return nil
}

func order(logs state.LogStore, s conn.Session) Order {
	return Order{
		Store: memory{}, Logs: logs, Locks: NewLocks(func() {}), Logger: slog.New(slog.DiscardHandler), Session: s,
		Snapshot: config.New(config.Snapshot{}), Builder: &config.Builder{Name: "b", Factory: &config.Factory{}},
		Worker: &config.Worker{Name: "w"}, Row: state.Build{ID: 1, Number: 1},
	}
}

// Two logs of one update that is made of several messages: the first to be written
// claims no message of which the second has text.
func TestResumeOfTwoLogs(t *testing.T) {
	logs := &segments{}
	r := newRunning(New(order(logs, nil)), &preparation{})
	stdio, err := r.AddLog("stdio", "s")
	if err != nil {
		t.Fatal(err)
	}
	file, err := r.AddLog("file", "t")
	if err != nil {
		t.Fatal(err)
	}
	x := &execution{r: r, c: Command{Log: stdio, Files: map[string]*Log{"f": file}}, id: "1-1.1"}
	both := []wire.Entry{{Key: "stdout", Text: []byte("a\n")}, {Key: "log", Log: "f", Text: []byte("b\n")}}
	for _, number := range []int64{3, 7} {
		if err := x.take(conn.Update{Number: number, Entries: both}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int64{0, 3, 3, 7}; !slices.Equal(logs.updates, want) {
		t.Errorf("got %v, want %v", logs.updates, want)
	}
}

// deaf is the session of a worker that answers nothing.
type deaf struct {
	conn.Session
	closed bool
	why    error
}

func (*deaf) Info() conn.WorkerInfo { return conn.WorkerInfo{} }
func (*deaf) Done() <-chan struct{} { return nil }
func (*deaf) Err() error            { return nil }
func (d *deaf) Close(string)        { d.closed = true }
func (d *deaf) Ping(ctx context.Context) error {
	<-ctx.Done()
	return errors.Join(d.why, context.Cause(ctx))
}

// A worker that does not answer in time is to blame, unless it is held back by another
// build: then this one is queued again. The session is left to those who watch it.
func TestPreparationTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, held := range []bool{false, true} {
			s := &deaf{}
			if held {
				s.why = conn.ErrHeld
			}
			o := New(order(&segments{}, s)).Run(t.Context())
			if o.Row.Results != config.Retry || o.Again != held || (o.Blame == "") != held || s.closed {
				t.Errorf("held %v: %v, again %v, blamed %q, session closed %v: %s", held, o.Row.Results, o.Again, o.Blame, s.closed, o.Row.StateString)
			}
		}
	})
}
