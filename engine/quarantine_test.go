package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/engine/run"
	"buildstar/state"
)

// docs/requirements.md A6: 10 s, doubling up to an hour; a build that goes well makes the
// next one short again; leaving early does not.
func TestQuarantineMachine(t *testing.T) {
	var q state.Quarantine
	now := state.Time(1_000_000)
	fall := func(want time.Duration) {
		t.Helper()
		before := q
		q = misbehaved(q, now, quarantineTime(q.Count), "it crashed", 7)
		if q.Until != now+state.Time(want.Milliseconds()) || q.Since != now || q.Count != before.Count+1 || q.Cause != "it crashed" || q.BuildID != 7 {
			t.Errorf("after %+v: %+v, want %v", before, q, want)
		}
	}
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600} {
		fall(want * time.Second)
		if again := misbehaved(q, now+1, time.Hour, "again", 8); again != q {
			t.Errorf("misbehaving in quarantine made it %+v", again)
		}
		q = released(q)
		now += 10_000_000
	}
	if q.Until != 0 || q.Cause != "it crashed" {
		t.Errorf("released: %+v", q)
	}
	if quarantineTime(1<<40) != time.Hour {
		t.Error("the time overflows")
	}
	if q = behaved(q); q != (state.Quarantine{}) {
		t.Errorf("after a good build: %+v", q)
	}
	fall(10 * time.Second)
	if good := behaved(q); good.Until != q.Until || good.Count != 0 {
		t.Errorf("a good build that began before the quarantine: %+v", good)
	}
}

// quarantined is the quarantine of the row of worker w.
func (r *running) quarantined() (q state.Quarantine) {
	r.t.Helper()
	r.view(func(tx state.ReadTx) error {
		row, err := state.One(tx.Workers(state.Where("name", "w")))
		q = row.Quarantine
		return err
	})
	return q
}

// hours makes quarantines of one hour.
func hours(o *Options) { o.Quarantine = func(int64) time.Duration { return time.Hour } }

// remoteError is a step that sends a command which the worker refuses.
func remoteError(t *testing.T) config.Step {
	return do("refused", func(ctx context.Context, s *run.Running) (config.Result, error) {
		res, err := s.Command(ctx, run.Command{Name: "no-such-command"})
		if err != nil || res.Error == "" {
			t.Errorf("the worker said %+v, %v", res, err)
		}
		return config.Exception, errors.New(res.Error)
	})
}

// What counts against a worker, and what does not (docs/requirements.md D1 pain 10).
func TestWhatQuarantines(t *testing.T) {
	crash := do("crash", func(context.Context, *run.Running) (config.Result, error) {
		return config.Exception, errors.New("a renderer crashed")
	})
	tests := map[string]struct {
		steps  []config.Step
		during func(r *running, leave func())
		want   string // of the cause; "": no quarantine
	}{
		"an error of the master": {[]config.Step{crash}, nil, ""},
		"an error of the master after one of the worker that did not matter": {[]config.Step{
			do("probe", func(ctx context.Context, s *run.Running) (config.Result, error) {
				_, err := s.Command(ctx, run.Command{Name: "no-such-command"})
				return config.Warnings, err
			}), crash}, nil, ""},
		"a failure": {[]config.Step{ends("fail", config.Failure)}, nil, ""},
		"a stop by a user": {[]config.Step{shell("sleep", "echo up; sleep 600")}, func(r *running, _ func()) {
			if err := r.StopBuild(context.Background(), r.printed("up").BuildID, "", alice); err != nil {
				r.t.Error(err)
			}
		}, ""},
		"the master ends the connection": {[]config.Step{shell("sleep", "echo up; sleep 600")}, func(r *running, _ func()) {
			r.printed("up")
			r.fleet.session("w").Close("a test")
		}, ""},
		"a lost connection": {[]config.Step{shell("sleep", "echo up; sleep 600")}, func(r *running, leave func()) {
			r.printed("up")
			leave()
		}, "b #1: worker w was lost: connection to worker lost"},
		"an error that the worker reports": {[]config.Step{remoteError(t)}, nil, "b #1: the worker reported: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newSite(t).start(remote([]string{"w"}, tt.steps...), hours)
			_, leave := r.attach("w")
			id := r.submit("b")
			if tt.during != nil {
				tt.during(r, leave)
			}
			b := r.finished(id)
			q := r.quarantined()
			switch {
			case tt.want == "" && q != (state.Quarantine{}):
				t.Errorf("%v: quarantined: %+v", b.Results, q)
			case tt.want != "" && (!strings.HasPrefix(q.Cause, tt.want) || q.BuildID != b.ID || q.Until != q.Since+state.Time(time.Hour.Milliseconds())):
				t.Errorf("%v: %+v, want %q", b.Results, q, tt.want)
			}
		})
	}
}

// A quarantine keeps requests waiting, which explain says; it survives a restart; its
// time, or unpausing, ends it; the next one is longer until a build goes well.
func TestQuarantine(t *testing.T) {
	var lengths []int64
	length := time.Hour
	fixed := func(o *Options) {
		o.Quarantine = func(before int64) time.Duration {
			lengths = append(lengths, before)
			return length
		}
	}
	s := newSite(t)
	broken := true
	snap := remote([]string{"w"}, do("work", func(ctx context.Context, run *run.Running) (config.Result, error) {
		if broken {
			return remoteError(t).(*testStep).do(ctx, run)
		}
		return config.Success, nil
	}))
	r := s.start(snap, fixed)
	r.attach("w")
	first := r.build("b")
	waits := r.submit("b")
	check := func() {
		t.Helper()
		x, err := r.Explain(context.Background(), waits)
		if err != nil || len(x.Reasons) != 1 || x.Reasons[0].Code != "quarantined" || x.Reasons[0].BuildID != first.ID ||
			!strings.Contains(x.Summary, `worker "w" is in quarantine: b #1: the worker reported`) {
			t.Errorf("explained as %+v, %v", x, err)
		}
	}
	check()
	r.stop()
	s.close()
	s.open()
	r = s.start(snap, fixed)
	r.attach("w")
	check()

	w := int64(1)
	unpause := func() {
		t.Helper()
		if err := errors.Join(r.PauseWorker(context.Background(), w, "", alice), r.UnpauseWorker(context.Background(), w, alice)); err != nil {
			t.Fatal(err)
		}
	}
	unpause()
	r.finished(waits) // and it misbehaves again
	if q := r.quarantined(); q.Count != 2 || len(lengths) != 2 || lengths[1] != 1 {
		t.Errorf("the second time: %+v, lengths after %v", q, lengths)
	}
	broken, length = false, time.Millisecond
	unpause()
	if b := r.build("b"); b.Results != config.Success {
		t.Errorf("%+v", b)
	}
	if q := r.quarantined(); q != (state.Quarantine{}) {
		t.Errorf("after a good build: %+v", q)
	}
	broken = true
	r.build("b")
	if lengths[2] != 0 {
		t.Errorf("lengths after %v", lengths)
	}
	over := func(q state.Quarantine) bool { return q.Until == 0 && q.Count == 1 }
	if !over(r.quarantined()) {
		r.await("the end of the quarantine", func(e state.Event) bool {
			row, ok := e.Row.(state.Worker)
			return ok && over(row.Quarantine)
		})
	}
}

// A worker that cannot attach is quarantined, and says why although it was never there.
func TestQuarantineOfAttach(t *testing.T) {
	r := newSite(t).start(remote([]string{"w"}), hours)
	r.AttachFailed("w", errors.New("no answer"))
	r.await("the row", func(e state.Event) bool {
		row, ok := e.Row.(state.Worker)
		return ok && row.Quarantine.Cause == "it could not attach: no answer"
	})
	r.AttachFailed("stranger", conn.ErrLost) // no longer configured
}

// A quarantine that was under way when the master ended ends in its time after the next
// start.
func TestQuarantineEndsAfterRestart(t *testing.T) {
	s := newSite(t)
	snap := remote([]string{"w"}, ends("a", config.Success))
	s.start(snap).stop()
	err := s.store.Update(t.Context(), func(tx state.Tx) error {
		row, err := state.One(tx.Workers(state.Where("name", "w")))
		if err != nil {
			return err
		}
		row.Quarantine = state.Quarantine{Since: state.Now(), Until: state.Now() + 200, Count: 1, Cause: "test"}
		_, err = tx.PutWorker(row, "state_updated")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r := s.start(snap)
	r.await("the end of the quarantine", func(e state.Event) bool {
		w, ok := e.Row.(state.Worker)
		return ok && w.Name == "w" && w.Quarantine.Until == 0 && w.Quarantine.Count == 1
	})
}
