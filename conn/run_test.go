package conn

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// attached is a bubble with one attached worker.
func attached(t *testing.T, f func(t *testing.T, srv *Server, p *peer, s Session)) {
	t.Helper()
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		p := connect(t, srv, "w1")
		f(t, srv, p, p.attach(y))
	})
}

func TestRun(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		out := make(chan outcome)
		go func() {
			out <- collect(t.Context(), s, Command{ID: "e-1", Name: "shell", Args: map[string]any{"command": []string{"make"}, "timeout": 1200}})
		}()
		m := p.want("start_command")
		want := message{"op": "start_command", "seq_number": int64(2), "command_id": "e-1", "command_name": "shell",
			"args": map[string]any{"command": []any{"make"}, "timeout": int64(1200)}}
		if !reflect.DeepEqual(m, want) {
			t.Errorf("got %v\nwant %v", m, want)
		}
		p.reply(m, nil)
		first := p.update("e-1", stdout("a\n"))
		p.answered(first)
		// docs/protocol.md 0.2 item 6: text may come after rc; only complete is the end
		last := p.update("e-1", rc(0), []any{"elapsed", 0.5}, stdout("b\n"))
		p.answered(last)
		end := p.complete("e-1", nil)
		p.answered(end)
		o := <-out
		if o.err != nil || o.text != "a\nb\n" || o.rc != int64(0) || len(o.updates) != 2 || o.updates[1].Number != 2 {
			t.Errorf("got %+v", o)
		}
		if got := p.excepted(p.update("e-1", stdout("late\n"))); !strings.Contains(got, "unknown") {
			t.Errorf("a late update was answered %q", got)
		}
		p.nothing()
	})
}

// docs/protocol.md 0.2 item 8: updates and complete may overtake the answer to the start.
func TestRunOvertaken(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		out := make(chan outcome, 1)
		go func() { out <- collect(t.Context(), s, Command{ID: "e-1", Name: "listdir"}) }()
		m := p.want("start_command")
		u := p.update("e-1", []any{"files", []any{"a"}}, rc(0))
		c := p.complete("e-1", nil)
		p.reply(m, nil)
		o := <-out
		if o.err != nil || o.rc != int64(0) {
			t.Errorf("got %+v", o)
		}
		p.answered(u, c)
		p.nothing()
	})
}

func TestRunRefused(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		out := make(chan outcome, 1)
		go func() { out <- collect(t.Context(), s, Command{ID: "e-1", Name: "nonsense"}) }()
		p.refuse(p.want("start_command"), "unrecognized WorkerCommand 'nonsense'")
		o := <-out
		var remote *RemoteError
		if !errors.As(o.err, &remote) || remote.Text != "unrecognized WorkerCommand 'nonsense'" {
			t.Errorf("got %v", o.err)
		}
		if _, err := s.Run(t.Context(), Command{ID: "e-2", Name: "shell", Args: map[string]any{"env": struct{}{}}}); err == nil ||
			!strings.Contains(err.Error(), "the wire has no such type") {
			t.Errorf("got %v", err)
		}
		// Both ids are free: nothing ran.
		out2 := p.run(t.Context(), s, Command{ID: "e-1", Name: "shell"})
		p.complete("e-1", nil)
		<-out2
	})
}

// docs/protocol.md 0.2 item 7: a command may end with an error after rc 0, and without any
// rc.
func TestRunCompletesWithError(t *testing.T) {
	for name, args := range map[string][]any{"after rc 0": {rc(0)}, "without rc": {}} {
		t.Run(name, func(t *testing.T) {
			attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
				out := p.run(t.Context(), s, Command{ID: "e-1", Name: "shell"})
				p.update("e-1", args...)
				p.complete("e-1", "[Failure instance: Traceback: ...]")
				o := <-out
				var remote *RemoteError
				if !errors.As(o.err, &remote) || !strings.HasPrefix(remote.Text, "[Failure") {
					t.Errorf("got %v", o.err)
				}
			})
		})
	}
}

// docs/protocol.md 0.2 item 11: ids never repeat.
func TestRunIDs(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		out := p.run(t.Context(), s, Command{ID: "e-1", Name: "shell"})
		if _, err := s.Run(t.Context(), Command{ID: "e-1", Name: "shell"}); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("the same id again: %v", err)
		}
		p.complete("e-1", nil)
		p.answered(0)
		<-out
		for _, want := range []string{"test-1", "test-2"} {
			out := make(chan outcome, 1)
			go func() { out <- collect(t.Context(), s, Command{Name: "mkdir"}) }()
			m := p.want("start_command")
			if m["command_id"] != want {
				t.Errorf("id %v, want %s", m["command_id"], want)
			}
			p.complete(want, nil)
			p.reply(m, nil)
			<-out
			p.want("response")
		}
	})
}

// Updates are answered when the body asks for the next one, not before; what waits
// meanwhile is one Update.
func TestRunAnswersAfterBody(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		body, next := make(chan Update), make(chan bool)
		updates := p.startShell(t.Context(), s, "e-1")
		go func() {
			for u := range updates {
				body <- u
				<-next
			}
			close(body)
		}()
		a := p.update("e-1", stdout("a\n"))
		if u := <-body; u.Number != 1 {
			t.Errorf("number %d", u.Number)
		}
		b, c := p.update("e-1", stdout("b\n")), p.update("e-1", rc(0))
		read := make(chan message, 10)
		go func() {
			for {
				m, err := p.read()
				if err != nil {
					close(read)
					return
				}
				read <- m
			}
		}()
		synctest.Wait()
		if len(read) != 0 {
			t.Errorf("answered %v while the body was at work", <-read)
		}
		next <- true
		if got := (<-read).seq(); got != a {
			t.Errorf("answered %d, want %d", got, a)
		}
		u := <-body
		if u.Number != 3 || len(u.Entries) != 2 || string(u.Entries[0].Text) != "b\n" || u.Entries[1].Key != "rc" {
			t.Errorf("got %+v, want two updates in one", u)
		}
		synctest.Wait()
		if len(read) != 0 {
			t.Error("answered while the body was at work")
		}
		next <- true
		if x, y := (<-read).seq(), (<-read).seq(); x != b || y != c {
			t.Errorf("answered %d and %d", x, y)
		}
		p.complete("e-1", nil)
		<-body
		p.tr.Close("")
		for range read {
		}
	})
}

// A slow body holds the reader back; nothing is lost, memory is bounded.
func TestRunHoldsTheReaderBack(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		updates := p.startShell(t.Context(), s, "e-1")
		line := strings.Repeat("x", 60_000) + "\n"
		const count = 100
		wrote := make(chan bool)
		go func() {
			for range count {
				p.update("e-1", stdout(line))
			}
			p.complete("e-1", nil)
			close(wrote)
		}()
		go func() { // the worker goes on reading
			for {
				if _, err := p.read(); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		select {
		case <-wrote:
			t.Error("6 MB were taken in while nobody wanted them")
		default:
		}
		c := s.(*session).command("e-1")
		c.mu.Lock()
		waiting := c.cost
		c.mu.Unlock()
		if waiting == 0 || waiting > maxWaiting {
			t.Errorf("%d bytes wait, want at most %d", waiting, maxWaiting)
		}
		got := 0
		for u, err := range updates {
			if err != nil {
				t.Fatal(err)
			}
			got += len(u.Entries)
		}
		if got != count {
			t.Errorf("%d lines, want %d", got, count)
		}
		<-wrote
		p.tr.Close("")
	})
}

// A cancelled command is interrupted and then heard to its end.
func TestRunCancelled(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		ctx, cancel := context.WithCancelCause(t.Context())
		out := p.run(ctx, s, Command{ID: "e-1", Name: "shell"})
		p.update("e-1", stdout("a\n"))
		p.want("response")
		cancel(errors.New("the build was stopped"))
		m := p.want("interrupt_command")
		if m["command_id"] != "e-1" || m["why"] != "the build was stopped" {
			t.Errorf("got %v", m)
		}
		p.reply(m, nil)
		u := p.update("e-1", []any{"header", []any{"command interrupted\n", []any{19}, []any{1.0}}}, rc(-1))
		p.answered(u)
		p.answered(p.complete("e-1", nil))
		if o := <-out; o.err != nil || o.rc != int64(-1) {
			t.Errorf("got %+v", o)
		}
		p.nothing()
	})
}

// A command that does not end is given up after 6 s and SigtermTime, even if it never
// stops talking. The session lives, and the id is interrupted again at the next
// attach.
func TestRunNeverEnds(t *testing.T) {
	for _, talks := range []bool{false, true} {
		bubble(t, func(t *testing.T, srv *Server, y *yard) {
			p := connect(t, srv, "w1")
			s := p.attach(y)
			ctx, cancel := context.WithCancel(t.Context())
			start := time.Now()
			out := p.run(ctx, s, Command{ID: "e-1", Name: "shell", SigtermTime: 3})
			stop := make(chan bool)
			if talks {
				go func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(second / 2):
							p.update("e-1", stdout("still here\n"))
						}
					}
				}()
			}
			synctest.Wait()
			cancel()
			o := <-out
			if !errors.Is(o.err, ErrNotStopped) || errors.Is(o.err, ErrLost) {
				t.Errorf("ended with %v", o.err)
			}
			if waited := time.Since(start); waited < 9*second || waited > 10*second {
				t.Errorf("gave up after %v, want 9 s", waited)
			}
			close(stop)
			synctest.Wait()
			if s.Err() != nil {
				t.Fatalf("the session ended with %v", s.Err())
			}
			p.tr.Close("")
			<-s.Done()
			q := connect(t, srv, "w1")
			q.reply(q.want("get_worker_info"), info())
			q.reply(q.want("set_worker_settings"), nil)
			m := q.want("interrupt_command")
			if m["command_id"] != "e-1" {
				t.Errorf("got %v", m)
			}
			q.reply(m, nil)
			<-y.attached
		})
	}
}

// Breaking out of the loop interrupts; what still comes is answered and forgotten.
func TestRunBreak(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		updates := p.startShell(t.Context(), s, "e-1")
		first := p.update("e-1", stdout("a\n"))
		synctest.Wait()
		for range updates {
			break
		}
		p.answered(first)
		if m := p.want("interrupt_command"); m["command_id"] != "e-1" {
			t.Errorf("got %v", m)
		}
		for range 3 { // far more than may wait
			p.answered(p.update("e-1", stdout(strings.Repeat("x", maxWaiting)+"\n")))
		}
		p.excepted(p.send("update_upload_file_write", map[string]any{"command_id": "e-1", "args": []byte("x")}))
		p.answered(p.complete("e-1", nil))
		p.excepted(p.complete("e-1", nil))
		for _, err := range updates {
			if err == nil || !strings.Contains(err.Error(), "only once") {
				t.Errorf("ranged over twice: %v", err)
			}
		}
		p.nothing()
	})
}

// A loop that stood still while its worker went on in small steps, as when the disk of
// the master was full, answers all of them at once; the session is none the worse.
func TestManySmallUpdates(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		const commands, each = 3, 2000
		var loops []iter.Seq2[Update, error]
		for c := range commands {
			loops = append(loops, p.startShell(t.Context(), s, fmt.Sprint("e-", c)))
		}
		for i := range each {
			for c := range commands {
				p.update(fmt.Sprint("e-", c), rc(i))
			}
		}
		synctest.Wait()
		var wg sync.WaitGroup
		for _, updates := range loops {
			wg.Go(func() {
				for _, err := range updates {
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		synctest.Wait()
		for range commands * each {
			p.want("response")
		}
		for c := range commands {
			p.answered(p.complete(fmt.Sprint("e-", c), nil))
		}
		wg.Wait()
	})
}
