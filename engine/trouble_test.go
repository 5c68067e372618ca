package engine

import (
	"context"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/engine/instance"
	"buildstar/internal/smtptest"
	"buildstar/state"
)

// Of instances that do not connect there is one mail until one does; of each that cannot be
// stopped there is one, also if nobody asked to hear of its worker.
func TestInstanceMail(t *testing.T) {
	server := smtptest.Start(t, nil, false)
	s := missed(0, server.Port)
	s.Master.Reporters[0].(*postman).Extra = []string{"all@example.com"}
	r := newSite(t).start(s, soon)
	happen := func(i state.Instance, missing string, w *config.Worker) {
		t.Helper()
		i.Worker = "vm"
		err := r.o.Store.Update(context.Background(), func(tx state.Tx) (err error) {
			if i.ID, err = tx.AddInstance(i); err != nil {
				return err
			}
			return r.missing.trouble(tx, instance.Trouble{Instance: i, Worker: w, Missing: missing})
		})
		if err != nil {
			t.Fatal(err)
		}
		r.missing.look()
	}
	got := func(to string, texts ...string) {
		t.Helper()
		m := server.Next(t)
		if all := strings.Join(m.To, " "); all != to {
			t.Errorf("to %s, want %s", all, to)
		}
		text := m.Header.Get("Subject") + "\n" + strings.ReplaceAll(m.Body, "=\r\n", "")
		for _, want := range texts {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in %s", want, text)
			}
		}
	}
	w := &config.Worker{Name: "vm", NotifyOnMissing: []string{"admin@example.com"}}
	happen(state.Instance{Handle: "h1"}, "it did not connect", w)
	got("admin@example.com all@example.com", "Demo: worker vm is missing", "instance 1 (h1)", "is missing: it did not connect", "http://ci/workers/vm")
	happen(state.Instance{}, "it did not connect", w)                // there was a mail
	happen(state.Instance{}, "it did not connect", &config.Worker{}) // nobody wants to hear of it
	happen(state.Instance{Failures: 3, Failure: "the provider is down"}, "", nil)
	got("all@example.com", "Demo: an instance of worker vm cannot be stopped", "instance 4", "the provider is down", "may still cost money")
	happen(state.Instance{ConnectedAt: 1}, "its connection was lost", w)
	got("admin@example.com all@example.com", "instance 5", "its connection was lost")
	s.Master.Reporters[0].(*postman).Extra = nil
	happen(state.Instance{Failures: 3}, "", nil) // there is nobody to tell
	happen(state.Instance{Failures: 3}, "", w)
	got("admin@example.com", "instance 7")
}
