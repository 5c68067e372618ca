package conn

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"buildstar/conn/wire"
)

func TestAttach(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		p := connect(t, srv, "w1")
		p.reply(p.want("get_worker_info"), info())
		if _, ok := srv.Session("w1"); ok {
			t.Error("a session before the worker has its settings")
		}
		m := p.want("set_worker_settings")
		want := map[string]any{"buffer_size": int64(65536), "buffer_timeout": 0.1, "max_line_length": int64(16 << 20), "newline_re": wire.StockNewlines}
		if !reflect.DeepEqual(m["args"], want) {
			t.Errorf("settings %v, want %v", m["args"], want)
		}
		p.reply(m, nil)
		s := <-y.attached
		if got, ok := srv.Session("w1"); !ok || got != s || s.Name() != "w1" || s.Err() != nil {
			t.Errorf("got %v, %v", got, ok)
		}
		i := s.Info()
		if i.Basedir != "/home/bot/worker" || i.System != "posix" || i.Version != "3.7.0-2" || i.Ours || i.Commands["shell"] != "3.1" {
			t.Errorf("got %+v", i)
		}
		facts := i.Facts.Map()
		if facts["admin"] != "Me" || facts["numcpus"] != int64(2) || facts["os_id"] != "debian" {
			t.Errorf("facts %v", facts)
		}
		for _, key := range []string{"os_id_like", "os_version_id", "os_version_codename"} {
			if v, ok := facts[key]; !ok || v != nil {
				t.Errorf("%s is %v, %v; want nil and there", key, v, ok)
			}
		}
		if facts["environ"] != nil || i.Environ["HOME"] != "/home/bot" || i.Environ["TOKEN"] != "" {
			t.Errorf("the environment leaked: %v, %v", i.Facts, i.Environ)
		}
	})
}

// Our own worker gets raw CR and a shorter buffer time (docs/protocol.md D 3).
func TestAttachOurs(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		p := connect(t, srv, "w1")
		ours := info()
		ours["buildstar"] = map[string]any{"version": "1"}
		p.reply(p.want("get_worker_info"), ours)
		m := p.want("set_worker_settings")
		args := m["args"].(map[string]any)
		if args["newline_re"] != wire.NoNewlines || args["buffer_timeout"] != 0.03 {
			t.Errorf("settings %v", args)
		}
		if ours := args["buildstar"].(map[string]any); ours["silence"] != 120.0 || ours["leave"] != int64(1) {
			t.Errorf("the master can %v", ours)
		}
		p.reply(m, nil)
		if s := <-y.attached; !s.Info().Ours || s.Info().Facts.Map()["buildstar"] != nil {
			t.Errorf("got %+v", s.Info())
		}
	})
}

// docs/protocol.md A.10: a worker asks to be told to shut down once it is idle.
func TestLeave(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		p := connect(t, srv, "w1")
		s := p.attach(y)
		if len(y.leaves) > 0 {
			t.Error("it leaves before it asked")
		}
		for range 2 {
			p.answered(p.send("leave", nil))
		}
		if <-y.leaves != s {
			t.Error("another worker leaves")
		}
		synctest.Wait()
		if len(y.leaves) > 0 {
			t.Error("it leaves twice")
		}
	})
}

// An attached session is reported when it ends, and only then.
func TestDetached(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		connect(t, srv, "w2").want("get_worker_info") // never attaches
		p := connect(t, srv, "w1")
		s := p.attach(y)
		synctest.Wait()
		if len(y.detached) > 0 {
			t.Error("it is gone before its end")
		}
		p.tr.Close("")
		if <-y.detached != s || s.Err() == nil {
			t.Error("another one ended, or none")
		}
		time.Sleep(attachPatience)
		synctest.Wait()
		if len(y.detached) > 0 {
			t.Error("more than one ended")
		}
	})
}

// docs/protocol.md 0.2 item 9: a worker with a strange environment never answers.
func TestAttachWithoutInformation(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		start := time.Now()
		p := connect(t, srv, "w1")
		p.want("get_worker_info")
		_, err := p.read()
		if err == nil || !strings.Contains(err.Error(), "not UTF-8") {
			t.Errorf("closed with %v", err)
		}
		if waited := time.Since(start); waited != 10*second {
			t.Errorf("closed after %v, want 10 s", waited)
		}
		synctest.Wait()
		if _, ok := srv.Session("w1"); ok || len(y.attached) > 0 || len(y.failed) != 1 {
			t.Error("the worker attached")
		}
		if log := y.log.String(); !strings.Contains(log, "worker did not attach") || !strings.Contains(log, "worker=w1") {
			t.Errorf("log:\n%s", log)
		}
		connect(t, srv, "w1").attach(y) // the name is free again
	})
}

func TestAttachRefused(t *testing.T) {
	tests := []struct {
		name string
		play func(p *peer)
		want string
	}{
		{"information is an exception", func(p *peer) { p.refuse(p.want("get_worker_info"), "broken info file") }, "broken info file"},
		{"information is a number", func(p *peer) { p.reply(p.want("get_worker_info"), 7) }, "not a map"},
		{"no basedir", func(p *peer) { p.reply(p.want("get_worker_info"), map[string]any{"system": "posix"}) }, "no basedir"},
		{"information too long", func(p *peer) { p.reply(p.want("get_worker_info"), strings.Repeat("x", maxResult+1)) }, "too long"},
		{"settings are refused", func(p *peer) {
			p.reply(p.want("get_worker_info"), info())
			p.refuse(p.want("set_worker_settings"), "bad regex")
		}, "bad regex"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, srv *Server, y *yard) {
				p := connect(t, srv, "w1")
				tt.play(p)
				if _, err := p.read(); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("closed with %v, want %q", err, tt.want)
				}
				if why := <-y.failed; !strings.HasPrefix(why, "w1: ") || !strings.Contains(why, tt.want) {
					t.Errorf("the host was told %q", why)
				}
			})
		})
	}
}

// docs/protocol.md A.9: the older of two connections keeps the name while it answers.
func TestDuplicateIsClosed(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		p := connect(t, srv, "w1")
		s := p.attach(y)
		q := connect(t, srv, "w1")
		m := p.want("print")
		if m["message"] != "master got a duplicate connection" {
			t.Errorf("asked with %v", m)
		}
		p.reply(m, nil)
		if _, err := q.read(); err == nil || !strings.Contains(err.Error(), "another worker of this name is connected from local") {
			t.Errorf("the newcomer was told %v", err)
		}
		if got, ok := srv.Session("w1"); !ok || got != s || s.Err() != nil {
			t.Error("the older connection lost its name")
		}
		synctest.Wait()
		if len(y.failed) > 0 {
			t.Errorf("the duplicate counts against the worker: %s", <-y.failed)
		}
	})
}

// The older one does not answer for 10 s: the newcomer takes over, and what ran on the
// older one is interrupted before anything else (0.2 item 10).
func TestDuplicateTakesOver(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		p := connect(t, srv, "w1")
		s := p.attach(y)
		run := p.run(t.Context(), s, Command{ID: "e-1", Name: "shell"})
		start := time.Now()
		q := connect(t, srv, "w1")
		p.want("print")
		r := connect(t, srv, "w1") // a third one meanwhile
		if _, err := r.read(); err == nil || !strings.Contains(err.Error(), "being asked") {
			t.Errorf("the third was told %v", err)
		}
		q.reply(q.want("get_worker_info"), info())
		if waited := time.Since(start); waited != 10*second {
			t.Errorf("took over after %v, want 10 s", waited)
		}
		if err := ended(s); !errors.Is(err, ErrLost) {
			t.Errorf("the older one ended with %v", err)
		}
		if o := <-run; !errors.Is(o.err, ErrLost) {
			t.Errorf("its command ended with %v", o.err)
		}
		q.reply(q.want("set_worker_settings"), nil)
		m := q.want("interrupt_command")
		if m["command_id"] != "e-1" || len(y.attached) > 0 {
			t.Errorf("got %v, want the orphan's id before the host has the session", m)
		}
		q.reply(m, nil)
		if got := <-y.attached; got == s {
			t.Error("the host got the older session again")
		}
	})
}

// A newcomer that leaves while the older one is asked changes nothing.
func TestDuplicateLeaves(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		p := connect(t, srv, "w1")
		s := p.attach(y)
		q := connect(t, srv, "w1")
		p.want("print")
		q.tr.Close("bye")
		synctest.Wait()
		time.Sleep(20 * second)
		if s.Err() != nil || len(y.failed) > 0 {
			t.Errorf("the older one ended with %v; %d failures", s.Err(), len(y.failed))
		}
	})
}

// While the master itself holds the older one back, it cannot answer, and lives.
func TestDuplicateWhileHeldBack(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		p := connect(t, srv, "w1")
		s := p.attach(y)
		updates := p.startShell(t.Context(), s, "e-1")
		for range 2 {
			p.update("e-1", stdout(strings.Repeat("x", maxWaiting)+"\n"))
		}
		synctest.Wait()
		q := connect(t, srv, "w1")
		if _, err := q.read(); !errors.Is(err, wire.ErrClosed) {
			t.Errorf("the newcomer got %v", err)
		}
		if s.Err() != nil {
			t.Errorf("the older one ended with %v", s.Err())
		}
		p.complete("e-1", nil)
		lines := 0
		for u, err := range updates {
			if err != nil {
				t.Fatal(err)
			}
			lines += len(u.Entries)
		}
		if lines != 2 {
			t.Errorf("%d entries, want 2", lines)
		}
	})
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, y := newYard(Options{})
		p := connect(t, srv, "w1")
		s := p.attach(y)
		run := p.run(t.Context(), s, Command{ID: "e-1", Name: "shell"})
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if o := <-run; !errors.Is(o.err, ErrLost) || !strings.Contains(o.err.Error(), "shutting down") {
			t.Errorf("the command ended with %v", o.err)
		}
		if err := s.Ping(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("ping: %v", err)
		}
		if _, err := s.Run(t.Context(), Command{Name: "shell"}); !errors.Is(err, ErrLost) {
			t.Errorf("run: %v", err)
		}
		master, _ := wire.Pipe()
		if err := srv.ServePipe(t.Context(), master, "w2"); !errors.Is(err, errStopping) {
			t.Errorf("a new worker: %v", err)
		}
	})
}
