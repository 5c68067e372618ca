package engine

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/engine/mail"
	"buildstar/internal/smtptest"
	"buildstar/state"
)

// postman is a reporter that sends mail through a server of the test.
type postman struct {
	config.At
	Port  int
	Extra []string
	Only  string // the worker it is about; "": all
}

func (*postman) Type() string               { return "MailNotifier" }
func (p *postman) About(worker string) bool { return p.Only == "" || p.Only == worker }
func (p *postman) Relay() mail.Relay {
	return mail.Relay{From: "ci@example.com", Host: "127.0.0.1", Port: p.Port, Extra: p.Extra}
}

// missed is a configuration whose worker "w" is missing after a while.
func missed(timeout time.Duration, port int) *config.Snapshot {
	s := remote([]string{"w", "x"}, ends("a", config.Success))
	s.Master.Title, s.Master.BuildbotURL = "Demo", "http://ci/"
	s.Master.Reporters = []config.Reporter{&postman{Port: port}}
	s.Workers[0].NotifyOnMissing, s.Workers[0].MissingTimeout = []string{"admin@example.com", "boss@example.com"}, timeout
	return config.New(*s)
}

func soon(o *Options) { o.MailBackoff = func(int) time.Duration { return time.Millisecond } }

// visit connects the worker "w" and loses it.
func (r *running) visit() {
	r.t.Helper()
	session := newSlow()
	served := r.serve(session)
	r.connected("w")
	close(session.done)
	<-served
	r.await("the loss of w", func(e state.Event) bool {
		w, ok := e.Row.(state.Worker)
		return ok && w.Name == "w" && !w.Connected
	})
}

// One mail for each loss, whatever the server does and however often the master starts;
// none for a worker that was never there, or that nobody wants to hear of.
func TestMissingMail(t *testing.T) {
	server := smtptest.Start(t, nil, false)
	site := newSite(t)
	r := site.start(missed(time.Millisecond, server.Port), soon)
	server.Refuse(errors.New("not now"))
	r.visit()
	server.Refused(t)
	server.Refused(t)
	r.stop() // the mail waits in the outbox
	server.Refuse(nil)
	r = site.start(missed(time.Millisecond, server.Port), soon)
	first := server.Next(t)
	if got := strings.Join(first.To, " "); got != "admin@example.com boss@example.com" || first.From != "ci@example.com" {
		t.Errorf("from %s to %s", first.From, got)
	}
	if got := first.Header.Get("Subject"); got != "Demo: worker w is missing" {
		t.Errorf("subject %q", got)
	}
	for _, want := range []string{`The worker "w" of Demo has been missing since 2`, "http://ci/workers/w"} {
		if !strings.Contains(first.Body, want) {
			t.Errorf("no %q in %s", want, first.Body)
		}
	}
	r.stop()
	r = site.start(missed(time.Millisecond, server.Port), soon)
	r.visit()
	second := server.Next(t) // the very next one is about the second loss
	if a, b := first.Header.Get("Message-Id"), second.Header.Get("Message-Id"); a == b {
		t.Errorf("two mails %s about one loss", a)
	}
}

// The time of a loss outlives the master, and so does a mail that no server takes; a
// reload names another server.
func TestMissingOverRestarts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().(*net.TCPAddr).Port
	l.Close()
	server := smtptest.Start(t, nil, false)
	site := newSite(t)
	r := site.start(missed(time.Hour, dead), soon)
	r.visit()
	r.stop()
	err = site.store.Update(context.Background(), func(tx state.Tx) error { // two hours pass
		row, err := state.One(tx.Workers(state.Where("name", "w")))
		if err != nil {
			return err
		}
		row.Info = `{"host":"rack 7","admin":"Joe"}`
		row.ChangedAt -= state.Time(2 * time.Hour / time.Millisecond)
		_, err = tx.PutWorker(row, "state_updated")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	log := &watchman{want: "was not sent", seen: make(chan struct{})}
	r = site.start(missed(time.Hour, dead), soon, func(o *Options) { o.Logger = slog.New(log) })
	select {
	case <-log.seen:
	case <-time.After(patience):
		t.Fatal("the log does not say that there is no server")
	}
	if err := r.Apply(context.Background(), missed(time.Hour, server.Port)); err != nil {
		t.Fatal(err)
	}
	m := server.Next(t)
	for _, want := range []string{`the host "rack 7"`, "administrator is Joe"} {
		if !strings.Contains(m.Body, want) {
			t.Errorf("no %q in %s", want, m.Body)
		}
	}
}

// A master that was stopped for long does not call its workers missing before they can be
// back: the time begins with its start.
func TestMissingAfterStop(t *testing.T) {
	site := newSite(t)
	r := site.start(missed(time.Hour, 1))
	o := site.outpost("w")
	o.serve(r)
	r.connected("w")
	r.stop()
	began := state.Now()
	r = site.start(missed(time.Hour, 1))
	r.view(func(tx state.ReadTx) error {
		row, at, err := lost(tx, r.Snapshot().Worker("w"))
		if row.Connected || at < began+state.Time(time.Hour/time.Millisecond) {
			t.Errorf("lost at %v, mail due at %v; the master started at %v", row.ChangedAt, at, began)
		}
		return err
	})
}

// When a mail is due.
func TestMissingDue(t *testing.T) {
	site := newSite(t)
	r := site.start(missed(time.Hour, 1))
	w := r.Snapshot().Worker("w")
	due := func() (row state.Worker, at state.Time) {
		r.view(func(tx state.ReadTx) (err error) {
			row, at, err = lost(tx, w)
			return err
		})
		return row, at
	}
	if _, at := due(); at != 0 {
		t.Errorf("a worker that was never there is missing at %v", at)
	}
	r.visit()
	row, at := due()
	if want := row.ChangedAt + state.Time(time.Hour/time.Millisecond); row.ChangedAt == 0 || at != want {
		t.Errorf("due at %v, want %v", at, want)
	}
	for n, want := range map[int]time.Duration{1: time.Minute, 2: 2 * time.Minute, 6: 32 * time.Minute, 7: time.Hour, 99: time.Hour} {
		if got := mailBackoff(n); got != want {
			t.Errorf("after %d failures: %v, want %v", n, got, want)
		}
	}
	if got, ok := relay(oneBuilder(), "w"); !ok || !strings.HasPrefix(got.From, "buildstar@") || got.Host != "" {
		t.Errorf("without a reporter: %+v", got)
	}
	s := oneBuilder()
	s.Master.Reporters = []config.Reporter{&postman{Port: 1, Only: "a"}, &postman{Port: 2, Only: "b"}, &postman{Port: 3, Only: "a"}}
	for worker, want := range map[string]int{"a": 1, "b": 2, "c": 0} {
		if got, ok := relay(s, worker); ok != (want != 0) || ok && got.Port != want {
			t.Errorf("about %s: %+v, %v", worker, got, ok)
		}
	}
}

// watchman is a log that says when it has had a text.
type watchman struct {
	slog.Handler
	want string
	once sync.Once
	seen chan struct{}
}

func (w *watchman) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, w.want) {
		w.once.Do(func() { close(w.seen) })
	}
	return nil
}
func (w *watchman) Enabled(context.Context, slog.Level) bool { return true }
func (w *watchman) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *watchman) WithGroup(string) slog.Handler            { return w }
