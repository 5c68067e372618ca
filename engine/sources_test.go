package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/engine/change"
	"buildstar/engine/sched"
	"buildstar/state"
)

// watcher is a change source made of Go.
type watcher struct {
	config.At
	Name, Content string
	run           func(context.Context, change.Host) error
}

func (w *watcher) Key() config.Key {
	return config.Key{Kind: config.KindChangeSource, Name: w.Name}
}
func (w *watcher) Refs() iter.Seq2[string, config.Key]          { return func(func(string, config.Key) bool) {} }
func (w *watcher) Type() string                                 { return "Test" }
func (w *watcher) Run(ctx context.Context, h change.Host) error { return w.run(ctx, h) }
func watching(ws ...config.ChangeSource) *config.Snapshot {
	s := *oneBuilder(ends("s", config.Success))
	s.ChangeSources = ws
	return config.New(s)
}

// lives tells the begins and ends of change sources.
type lives chan string

func (l lives) watcher(name, content string) *watcher {
	return &watcher{Name: name, Content: content, run: func(ctx context.Context, _ change.Host) error {
		l <- "begin " + name + content
		<-ctx.Done()
		l <- "end " + name + content
		return ctx.Err()
	}}
}

func (l lives) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-l:
		return s
	case <-t.Context().Done():
		t.Fatal("nothing came")
		return ""
	}
}

// A reload stops what is gone or changed and starts what is new; the rest goes on.
func TestSourcesReload(t *testing.T) {
	l := make(lives, 100)
	r := newSite(t).start(watching(l.watcher("kept", ""), l.watcher("gone", ""), l.watcher("changed", "1")))
	begun := []string{l.next(t), l.next(t), l.next(t)}
	if all := strings.Join(begun, ","); !strings.Contains(all, "begin kept") || !strings.Contains(all, "begin gone") || !strings.Contains(all, "begin changed1") {
		t.Fatal(all)
	}
	if err := r.Apply(t.Context(), watching(l.watcher("changed", "2"), l.watcher("kept", ""))); err != nil {
		t.Fatal(err)
	}
	ends := []string{l.next(t), l.next(t)}
	if all := strings.Join(ends, ","); !strings.Contains(all, "end gone") || !strings.Contains(all, "end changed1") {
		t.Errorf("after the reload: %s", all)
	}
	if got := l.next(t); got != "begin changed2" {
		t.Errorf("then %s", got)
	}
	r.view(func(tx state.ReadTx) error {
		rows, err := tx.ChangeSources(state.Query{})
		active := ""
		for _, c := range rows {
			active += fmt.Sprint(c.Name, " ", c.Active, ",")
		}
		if active != "kept true,gone false,changed true," {
			t.Errorf("rows: %s", active)
		}
		return err
	})
	r.stop()
	ends = []string{l.next(t), l.next(t)}
	if all := strings.Join(ends, ","); !strings.Contains(all, "end kept") || !strings.Contains(all, "end changed2") || len(l) > 0 {
		t.Errorf("after the shutdown: %s, and %d more", all, len(l))
	}
}

// Changes and memory are one transaction, which outlives the master.
func TestSourceRemembers(t *testing.T) {
	s := newSite(t)
	type memory struct{ Seen int }
	found := make(chan int, 1)
	w := &watcher{Name: "w", run: func(ctx context.Context, h change.Host) error {
		var m memory
		known, err := h.Recall(ctx, &m)
		if err != nil || known != (m.Seen > 0) {
			t.Errorf("recalled %v, %v, %v", m, known, err)
		}
		bad := change.Input{Revision: "bad"} // nobody made it
		var invalid *change.Invalid
		if err := h.Add(ctx, memory{99}, bad); !errors.As(err, &invalid) {
			t.Errorf("a change of nobody: %v", err)
		}
		m.Seen++
		if err := h.Add(ctx, m, change.Input{Author: "a", Revision: fmt.Sprint(m.Seen)}); err != nil {
			t.Error(err)
		}
		found <- m.Seen
		<-ctx.Done()
		return nil
	}}
	for want := 1; want < 3; want++ {
		r := s.start(watching(w))
		if got := <-found; got != want {
			t.Errorf("it has seen %d, want %d", got, want)
		}
		r.stop()
		r.view(func(tx state.ReadTx) error {
			rows, err := tx.Changes(state.Query{})
			if len(rows) != want || *rows[want-1].Revision != fmt.Sprint(want) {
				t.Errorf("changes %+v", rows)
			}
			return err
		})
	}
}

// A source that fails, ends or panics says why in its row, and runs again.
func TestSourceFails(t *testing.T) {
	n := 0
	w := &watcher{Name: "w", run: func(ctx context.Context, h change.Host) error {
		switch n++; n {
		case 1:
			panic("ouch")
		case 2:
			h.Report(ctx, nil)
			h.Report(ctx, errors.New("no network"))
			h.Report(ctx, errors.New("no network"))
			h.Report(ctx, nil)
			return nil
		}
		<-ctx.Done()
		return nil
	}}
	r := newSite(t).start(watching(w), func(o *Options) { o.SourcePause = time.Nanosecond })
	for _, want := range []string{"", "panic: ouch", "", "no network", "", "ended by itself"} {
		e := r.await("the source: "+want, func(e state.Event) bool {
			_, ok := e.Row.(state.ChangeSource)
			return ok
		})
		if got := e.Row.(state.ChangeSource); want == "" && got.Error != "" || !strings.Contains(got.Error, want) || !got.Active {
			t.Errorf("the source is %+v, want %q", got, want)
		}
	}
}

// Who asks is heard once, however often, and only by what there is.
func TestPollChanges(t *testing.T) {
	polled, begun := make(chan int), make(chan bool)
	w := &watcher{Name: "w", run: func(ctx context.Context, h change.Host) error {
		begun <- true
		for n := 1; ; n++ {
			select {
			case <-h.Asked():
				polled <- n
			case <-ctx.Done():
				return nil
			}
		}
	}}
	r := newSite(t).start(watching(w))
	<-begun
	for n := 1; n < 3; n++ {
		if err := r.PollChanges(t.Context(), "w", sched.User{}); err != nil {
			t.Fatal(err)
		}
		if got := <-polled; got != n {
			t.Errorf("polled %d times, want %d", got, n)
		}
	}
	if err := r.PollChanges(t.Context(), "other", sched.User{}); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("another: %v", err)
	}
}
