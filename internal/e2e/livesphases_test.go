package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"buildstar/internal/smtptest"
)

// livesStates are the states that a worker can be in when something happens to its master:
// reach brings it there and returns the request that waits, leave lets go what was held.
var livesStates = []struct {
	name    string
	options string
	reach   func(l *life, w string) (request int64)
	leave   func(l *life, w string)
}{
	{name: "down", reach: func(*life, string) int64 { return 0 }},
	{name: "starting", reach: func(l *life, w string) int64 {
		l.set(w, "slow")
		r := l.force("a")
		l.phase(r, "starting an instance")
		l.did(w, "start", 1)
		return r
	}, leave: func(l *life, w string) { l.unset(w, "slow") }},
	{name: "connecting", reach: func(l *life, w string) int64 {
		l.set(w, "dead")
		r := l.force("a")
		l.phase(r, "to connect")
		return r
	}, leave: func(l *life, w string) { l.unset(w, "dead") }},
	{name: "idle", options: "build_wait_timeout = 600", reach: func(l *life, _ string) int64 {
		l.done(l.force("a"), 0)
		return 0
	}},
	{name: "idle for ever", options: "build_wait_timeout = -1", reach: func(l *life, _ string) int64 {
		l.done(l.force("a"), 0)
		return 0
	}},
	{name: "building", options: "build_wait_timeout = 600", reach: func(l *life, _ string) int64 {
		l.set(l.name, "busy")
		r := l.force("a")
		l.phase(r, "ready")
		return r
	}, leave: func(l *life, _ string) { l.unset(l.name, "busy") }},
	{name: "stopping", reach: func(l *life, w string) int64 {
		l.set(w, "slowstop")
		l.done(l.force("a"), 0)
		l.did(w, "stop", 1)
		return 0
	}, leave: func(l *life, w string) { l.unset(w, "slowstop") }},
	{name: "stop fails", reach: func(l *life, w string) int64 {
		l.set(w, "stuck")
		l.done(l.force("a"), 0)
		l.did(w, "stop", 1)
		return 0
	}, leave: func(l *life, w string) { l.unset(w, "stuck") }},
}

// states is a master with a worker in each state.
type states struct {
	*lives
	of       []*life
	requests []int64
	lines    map[string]string // of all scenarios
}

// allStates starts a master and brings its workers there.
func allStates(t *testing.T) *states {
	t.Helper()
	s := &states{lives: newLives(t, "600", ""), requests: make([]int64, len(livesStates)), lines: map[string]string{}}
	for i, c := range livesStates {
		s.of = append(s.of, s.add(fmt.Sprintf("x%d", i), 1, c.options))
	}
	for name, line := range s.lives.lines {
		s.lines[name] = line
	}
	s.write()
	s.start()
	s.each(t, "reached", func(i int, l *life) { s.requests[i] = livesStates[i].reach(l, l.workers[0]) })
	return s
}

// each does something for every state at once, each in a test of its own.
func (s *states) each(t *testing.T, what string, fn func(i int, l *life)) {
	t.Helper()
	var wg sync.WaitGroup
	for i, c := range livesStates {
		wg.Go(func() { t.Run(c.name+" "+what, func(t *testing.T) { fn(i, s.of[i].in(t)) }) })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// leave lets go what is held in a state.
func (s *states) leave(i int, l *life) {
	if fn := livesStates[i].leave; fn != nil {
		fn(l, l.workers[0])
	}
}

func (s *states) index(state string) int {
	for i, c := range livesStates {
		if c.name == state {
			return i
		}
	}
	panic(state)
}

// present and absent make the scenarios those of the configuration, or none.
func (s *states) present(lines map[string]string) {
	for name, line := range s.lines {
		lines[name] = line
	}
}

func (s *states) absent(lines map[string]string) { clear(lines) }

// settled waits until a request is built, if there is one, and then for the end of the
// scenario.
func (s *states) settled(i int, l *life) {
	if r := s.requests[i]; r != 0 {
		l.done(r, 0)
	}
	l.done(l.force("a"), 0)
}

// Workers and their builders leave the configuration in each state, and come back (D1 pains
// 5 and 6): what builds is finished first, what waits is built once they are back.
func testLivesReload(t *testing.T) {
	s := allStates(t)
	s.change(s.absent)
	s.each(t, "removed", func(i int, l *life) {
		if i == s.index("building") {
			if len(l.exists(l.name)) != 1 || len(l.processes(l.name)) != 1 {
				l.t.Error("the instance of a build is gone")
			}
		}
		s.leave(i, l)
		l.over(false, s.requests[i])
		if i == s.index("building") {
			l.done(s.requests[i], 0)
		}
	})
	s.change(s.present)
	s.each(t, "added again", s.settled)
	s.change(s.absent)
	s.each(t, "over", func(i int, l *life) { l.over(false) })
}

// The master stops in each state: what builds stays, what cannot be stopped is left to the
// next start, all else is gone.
func testLivesShutdown(t *testing.T) {
	s := allStates(t)
	s.unset(s.of[s.index("stopping")], "slowstop")
	if status := s.stop(); status != 0 {
		t.Errorf("stop: exit status %d", status)
	}
	for i, l := range s.of {
		left := livesStates[i].name == "building" || livesStates[i].name == "stop fails"
		if n := len(l.exists(l.name)); (n != 0) != left {
			t.Errorf("%s: %d instances are left", livesStates[i].name, n)
		}
	}
	s.start()
	s.each(t, "afterwards", func(i int, l *life) {
		if i != s.index("stopping") {
			s.leave(i, l)
		}
		s.settled(i, l)
	})
	if builds := get[build](s.master, fmt.Sprintf("buildrequests/%d/builds", s.requests[s.index("building")]), "builds"); len(builds) != 1 {
		t.Errorf("the build did not go on: %d builds", len(builds))
	}
	s.change(s.absent)
	s.each(t, "over", func(i int, l *life) { l.over(false) })
}

// The master is killed in each state, and the next one has a configuration without the
// workers: what is left of them is stopped by the ledger alone (D1 pain 2).
func testLivesKilled(t *testing.T) {
	s := allStates(t)
	s.kill()
	s.of[s.index("stopping")].killed = true
	starting := s.of[s.index("starting")]
	s.unset(starting, "slow") // the create call of the killed master ends now
	starting.wait("the create call has ended", func() bool { return len(starting.processes(starting.name)) == 1 })
	s.absent(s.lives.lines)
	s.write()
	s.start()
	s.each(t, "removed", func(i int, l *life) {
		if i != s.index("starting") {
			s.leave(i, l)
		}
		l.over(false, s.requests[i])
	})
	s.change(s.present)
	s.each(t, "added again", s.settled)
	if builds := get[build](s.master, fmt.Sprintf("buildrequests/%d/builds", s.requests[s.index("building")]), "builds"); len(builds) != 1 {
		t.Errorf("the build did not go on: %d builds", len(builds))
	}
	s.change(s.absent)
	s.each(t, "over", func(i int, l *life) { l.over(false) })
}

// The master is killed while a worker builds whose start did not return: the build goes on,
// and its instance is found without a handle (D1 pain 2).
func testLivesKilledEarly(t *testing.T) {
	s := newLives(t, "600", "")
	l := s.add("early", 1, "")
	s.write()
	s.start()
	l.set(l.workers[0], "linger")
	l.set(l.name, "busy")
	r := l.force("a")
	l.phase(r, "ready")
	s.kill()
	l.unset(l.workers[0], "linger")
	s.start()
	l.unset(l.name, "busy")
	l.done(r, 0)
	if builds := get[build](s.master, fmt.Sprintf("buildrequests/%d/builds", r), "builds"); len(builds) != 1 {
		t.Errorf("the build did not go on: %d builds", len(builds))
	}
	l.over(false)
}

func (s *states) unset(l *life, what string) { l.unset(l.workers[0], what) }

// An instance whose connection is lost for good, and one that cannot be stopped, are mailed,
// once, also if the master is killed, and the page shows them.
func testLivesMailed(t *testing.T) {
	server := smtptest.Start(t, nil, false)
	s := newLives(t, "1", `c["services"] = [reporters.MailNotifier("ci@example.com", relayhost = "127.0.0.1", smtpPort = `+strconv.Itoa(server.Port)+`, builders = [])]`)
	lost := s.add("x1", 1, `notify_on_missing = "admin@example.com"`)
	stuck := s.add("x2", 1, `notify_on_missing = ["boss@example.com"]`)
	s.write()
	s.start()
	mailed := func(to string, texts ...string) {
		t.Helper()
		m := server.Next(t)
		text := m.Header.Get("Subject") + "\n" + strings.NewReplacer("=\r\n", "", "=\n", "").Replace(m.Body)
		if !slices.Equal(m.To, []string{to}) {
			t.Errorf("to %q, want %s: %s", m.To, to, text)
		}
		for _, want := range texts {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in %s", want, text)
			}
		}
	}
	lost.set(lost.name, "busy")
	r := lost.force("a")
	lost.phase(r, "ready")
	for _, pid := range lost.processes(lost.name) {
		if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	mailed("admin@example.com", "worker x1w1 is missing", "its connection was lost and did not come back within 1s")
	lost.unset(lost.name, "busy")
	lost.done(r, 0)
	lost.over(false)

	stuck.set("x2w1", "stuck")
	stuck.done(stuck.force("a"), 0)
	mailed("boss@example.com", "an instance of worker x2w1 cannot be stopped", "the provider is down")
	for _, path := range []string{"/workers/x2w1", "/workers"} {
		if page := s.page(path); !strings.Contains(page, "cannot be stopped") {
			t.Errorf("%s does not say that it cannot be stopped", path)
		}
	}
	s.kill()
	s.start()
	stuck.did("x2w1", "stop", 4)
	stuck.unset("x2w1", "stuck")
	lost.set("x1w1", "stuck")
	lost.done(lost.force("a"), 0)
	mailed("admin@example.com", "an instance of worker x1w1 cannot be stopped") // the very next one
	lost.unset("x1w1", "stuck")
	lost.over(false)
	stuck.over(false)
}
