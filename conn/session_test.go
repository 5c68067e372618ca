package conn

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"buildstar/conn/wire"
)

// A start that is not answered can be cancelled, and the command with it.
func TestRunStartCancelled(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		ctx, cancel := context.WithCancel(t.Context())
		out := make(chan outcome, 1)
		go func() { out <- collect(ctx, s, Command{ID: "e-1", Name: "shell"}) }()
		m := p.want("start_command")
		cancel()
		if o := <-out; !errors.Is(o.err, context.Canceled) {
			t.Errorf("got %v", o.err)
		}
		p.want("interrupt_command")
		p.reply(m, nil) // it had begun after all
		p.answered(p.update("e-1", stdout("a\n")), p.complete("e-1", nil))
		p.nothing()
	})
}

// The loop sees all that arrived before the connection went.
func TestRunLost(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		updates := p.startShell(t.Context(), s, "e-1")
		p.update("e-1", stdout("last words\n"))
		p.tr.Close("power cut")
		<-s.Done()
		var text string
		var last error
		for u, err := range updates {
			last = err
			for _, e := range u.Entries {
				text += string(e.Text)
			}
		}
		if text != "last words\n" || !errors.Is(last, ErrLost) || !strings.Contains(last.Error(), "power cut") {
			t.Errorf("got %q, %v", text, last)
		}
	})
}

// Many commands run at once, each with its own updates.
func TestRunMany(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		a := p.run(t.Context(), s, Command{ID: "e-1", Name: "shell"})
		b := p.run(t.Context(), s, Command{ID: "e-2", Name: "shell"})
		p.update("e-2", stdout("two\n"))
		p.update("e-1", stdout("one\n"))
		p.complete("e-2", nil)
		p.complete("e-1", nil)
		if oa, ob := <-a, <-b; oa.text != "one\n" || ob.text != "two\n" {
			t.Errorf("got %q and %q", oa.text, ob.text)
		}
	})
}

func TestPingInterruptShutdown(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		tests := []struct {
			call func(context.Context) error
			want message
		}{
			{s.Ping, message{"op": "print", "message": "ping"}},
			{func(ctx context.Context) error { return s.Interrupt(ctx, "old-7", "gone") }, message{"op": "interrupt_command", "command_id": "old-7", "why": "gone"}},
			{s.Shutdown, message{"op": "shutdown"}},
		}
		for i, tt := range tests {
			for _, refused := range []bool{false, true} {
				ch := make(chan error, 1)
				go func() { ch <- tt.call(t.Context()) }()
				m := p.want(tt.want["op"].(string))
				if tt.want["seq_number"] = m["seq_number"]; !reflect.DeepEqual(m, tt.want) {
					t.Errorf("got %v, want %v", m, tt.want)
				}
				if refused {
					p.refuse(m, "no")
				} else {
					p.reply(m, nil)
				}
				if err := <-ch; (err != nil) != refused {
					t.Errorf("%d: got %v", i, err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), second)
			ch := make(chan error, 1)
			go func() { ch <- tt.call(ctx) }()
			m := p.want(tt.want["op"].(string))
			if err := <-ch; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("without an answer: %v", err)
			}
			p.reply(m, nil) // late: for nobody, and no harm
			cancel()
			synctest.Wait()
		}
		if s.Err() != nil {
			t.Errorf("the session ended with %v", s.Err())
		}
		s.Close("enough")
		if err := ended(s); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "enough") {
			t.Errorf("ended with %v", err)
		}
		if _, err := p.read(); !errors.Is(err, wire.ErrClosed) || !strings.Contains(err.Error(), "enough") {
			t.Errorf("the worker was told %v", err)
		}
	})
}
