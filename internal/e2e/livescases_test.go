package e2e

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// livesCases are lives of latent workers (docs/requirements.md A8, A9, D1 pains 1, 2, 6, 8,
// 10). Each has its own builder, twin and workers on one master.
var livesCases = []struct {
	name    string
	workers int
	options string // of its workers
	wired   bool   // there is a network between its workers and the master
	retire  bool   // its instances are idle at the end, and leave with their workers
	run     func(l *life)
}{
	{name: "two workers start at once", workers: 2, run: func(l *life) {
		l.set(l.workers[0], "slow")
		l.set(l.workers[1], "slow")
		one, two := l.force("a"), l.force("a", true)
		l.did(l.workers[0], "start", 1)
		l.did(l.workers[1], "start", 1)
		l.unset(l.workers[0], "slow")
		l.unset(l.workers[1], "slow")
		l.done(one, 0)
		l.done(two, 0)
	}},
	{name: "two builds share one start", workers: 1, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "slow")
		l.set(l.name, "busy")
		one := l.force("a")
		l.phase(one, "starting an instance")
		two := l.force("a", true)
		l.why(two, "not connected yet")
		l.unset(w, "slow")
		l.done(two, 0)
		l.unset(l.name, "busy")
		l.done(one, 0)
		if n := l.count(w, "start"); n != 1 {
			l.t.Errorf("%d starts", n)
		}
	}},
	{name: "a failed start goes to another worker", workers: 2, run: func(l *life) {
		l.set(l.workers[0], "fail")
		r := l.force("a")
		l.tried(r, "no quota")
		l.done(r, 0)
		l.did(l.workers[1], "start", 1)
	}},
	{name: "a failed start puts the worker in quarantine", workers: 1, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "fail")
		r := l.force("a")
		l.tried(r, "no quota")
		l.why(r, "quarantine")
		l.unset(w, "fail")
		l.forgive(w)
		l.done(r, 0)
	}},
	{name: "a start that the build is to blame for ends that build alone", workers: 1, run: func(l *life) {
		if b := l.done(l.force("nonsense"), 4); !strings.Contains(b.StateString, "there is no such image") {
			l.t.Error(b.StateString)
		}
		l.done(l.force("a"), 0)
	}},
	{name: "a start without a handle has failed, and is stopped", workers: 1, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "nohandle")
		r := l.force("a")
		l.tried(r, "want the handle")
		l.unset(w, "nohandle")
		l.forgive(w)
		l.done(r, 0)
	}},
	{name: "an error in start_instance", workers: 1, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "broken")
		r := l.force("a")
		l.tried(r, "fail: start:")
		l.unset(w, "broken")
		l.forgive(w)
		l.done(r, 0)
	}},
	{name: "a build is stopped while the start goes on", workers: 1, run: func(l *life) {
		l.set(l.workers[0], "slow")
		r := l.force("a")
		l.phase(r, "starting an instance")
		l.stopBuild(r)
		l.done(r, 6)
		l.did(l.workers[0], "stopped", 1)
		l.unset(l.workers[0], "slow")
	}},
	{name: "a build is stopped before the instance connected", workers: 1, run: func(l *life) {
		l.set(l.workers[0], "dead")
		r := l.force("a")
		l.phase(r, "to connect")
		l.stopBuild(r)
		l.done(r, 6)
	}},
	{name: "a build is stopped while the last instance stops", workers: 1, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "slowstop")
		l.done(l.force("a"), 0)
		l.did(w, "stop", 1)
		r := l.force("a")
		l.phase(r, "waiting for its last instance to stop")
		l.stopBuild(r)
		l.done(r, 6)
		l.unset(w, "slowstop")
	}},
	{name: "a build comes while the last instance stops", workers: 1, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "slowstop")
		l.done(l.force("a"), 0)
		l.did(w, "stop", 1)
		r := l.force("a")
		l.phase(r, "waiting for its last instance to stop")
		l.unset(w, "slowstop")
		l.done(r, 0)
		l.did(w, "start", 2)
	}},
	{name: "a stop fails twice", workers: 1, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "stuck")
		l.done(l.force("a"), 0)
		l.did(w, "stop", 1)
		r := l.force("a")
		l.why(r, "cannot be stopped: the provider is down")
		l.did(w, "stop", 2)
		l.unset(w, "stuck")
		l.done(r, 0)
	}},
	{name: "a build stops and its instance goes on", workers: 1, options: "build_wait_timeout = 600", retire: true, run: func(l *life) {
		l.set(l.name, "busy")
		r := l.force("a")
		l.phase(r, "ready")
		l.stopBuild(r)
		l.done(r, 6)
		l.unset(l.name, "busy")
		l.done(l.force("a"), 0)
		if n := l.count(l.workers[0], "start"); n != 1 {
			l.t.Errorf("%d starts", n)
		}
	}},
	{name: "a worker that outlives its instance is kept out", workers: 1, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "late")
		l.done(l.force("a"), 0)
		l.did(w, "stopped", 1)
		l.unset(w, "late")
		old := l.processes(w)
		l.done(l.force("a"), 0) // on the second, while the first still knocks
		l.did(w, "stopped", 2)
		if len(old) != 1 {
			l.t.Fatalf("processes %v", old)
		}
		if err := syscall.Kill(-old[0], syscall.SIGKILL); err != nil {
			l.t.Error(err)
		}
	}},
	{name: "a start that does not end", workers: 1, options: "missing_timeout = 2", run: func(l *life) {
		w := l.workers[0]
		l.set(w, "slow")
		r := l.force("a")
		l.tried(r, "it did not connect within 2s")
		l.stopRequest(r)
		l.unset(w, "slow")
	}},
	{name: "an instance that does not connect", workers: 1, options: "missing_timeout = 2", run: func(l *life) {
		l.set(l.workers[0], "dead")
		r := l.force("a")
		l.tried(r, "it did not connect within 2s")
		l.stopRequest(r)
	}},
	{name: "a check that says no", workers: 1, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "dead")
		l.set(w, "sick")
		r := l.force("a")
		l.tried(r, "the instance will never connect: the instance is dead")
		l.unset(w, "dead")
		l.unset(w, "sick")
		l.forgive(w)
		l.done(r, 0)
	}},
	{name: "a check that fails", workers: 1, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "dead")
		l.set(w, "checkfails")
		r := l.force("a")
		l.tried(r, "nobody knows")
		l.unset(w, "dead")
		l.unset(w, "checkfails")
		l.forgive(w)
		l.done(r, 0)
	}},
	{name: "a worker connects before its start returned", workers: 1, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "linger")
		l.done(l.force("a"), 0)
		l.unset(w, "linger")
	}},
	{name: "a start fails after its worker was launched", workers: 1, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "failafter")
		r := l.force("a")
		l.did(w, "stopped", 1)
		l.unset(w, "failafter")
		l.forgive(w)
		l.done(r, 0)
	}},
	{name: "a ping that is not answered", workers: 2, options: "build_wait_timeout = 600", retire: true, run: func(l *life) {
		l.done(l.force("a"), 0)
		pids := l.processes(l.workers[0])
		if len(pids) != 1 {
			l.t.Fatalf("processes %v", pids)
		}
		if err := syscall.Kill(-pids[0], syscall.SIGSTOP); err != nil {
			l.t.Fatal(err)
		}
		r := l.force("a")
		l.tried(r, "")
		l.done(r, 0)
		l.did(l.workers[1], "start", 1)
	}},
	{name: "cut before it connected", workers: 1, wired: true, run: func(l *life) {
		l.wire.sever()
		r := l.force("a")
		l.phase(r, "to connect")
		l.wire.heal()
		l.done(r, 0)
	}},
	{name: "cut during a build", workers: 1, wired: true, run: func(l *life) {
		l.set(l.name, "busy")
		r := l.force("a")
		l.phase(r, "ready")
		l.wire.heal() // ends what is connected
		l.unset(l.name, "busy")
		l.done(r, 0)
		if builds := get[build](l.master, fmt.Sprintf("buildrequests/%d/builds", r), "builds"); len(builds) != 1 {
			l.t.Errorf("%d builds", len(builds))
		}
	}},
	{name: "cut while it is idle", workers: 1, wired: true, options: "build_wait_timeout = 600", retire: true, run: func(l *life) {
		l.done(l.force("a"), 0)
		l.wire.heal()
		l.done(l.force("a"), 0)
		if n := l.count(l.workers[0], "start"); n != 1 {
			l.t.Errorf("%d starts", n)
		}
	}},
	{name: "cut while it is stopped", workers: 1, wired: true, run: func(l *life) {
		w := l.workers[0]
		l.set(w, "slowstop")
		l.done(l.force("a"), 0)
		l.did(w, "stop", 1)
		l.wire.heal()
		r := l.force("a")
		l.phase(r, "waiting for its last instance to stop")
		l.unset(w, "slowstop")
		l.done(r, 0)
	}},
	{name: "a timeout of zero", workers: 1, options: "build_wait_timeout = 0", run: func(l *life) {
		l.done(l.force("a"), 0)
		l.done(l.force("a"), 0)
		l.did(l.workers[0], "start", 2)
	}},
	{name: "another image after a timeout of zero", workers: 1, options: "build_wait_timeout = 0", run: func(l *life) {
		one, two := l.force("a"), l.force("b", true)
		l.done(one, 0)
		l.built(two, "b")
		l.did(l.workers[0], "start", 2)
	}},
	{name: "another image replaces an idle instance", workers: 1, options: "build_wait_timeout = 600", retire: true, run: func(l *life) {
		l.built(l.force("a"), "a")
		l.built(l.force("b"), "b")
		l.did(l.workers[0], "stopped", 1)
		l.did(l.workers[0], "start", 2)
	}},
	{name: "another image waits for a busy instance", workers: 1, options: "build_wait_timeout = 600", retire: true, run: func(l *life) {
		l.set(l.name, "busy")
		one := l.force("a")
		l.phase(one, "ready")
		two := l.force("b", true)
		l.why(two, "on an instance that does not serve this build")
		l.unset(l.name, "busy")
		l.done(one, 0)
		l.built(two, "b")
	}},
	{name: "each image has its worker", workers: 2, options: "build_wait_timeout = 600", retire: true, run: func(l *life) {
		for _, image := range []string{"a", "b", "a", "b", "b", "a"} {
			l.built(l.force(image), image)
		}
		for _, w := range l.workers {
			if n := l.count(w, "start"); n != 1 {
				l.t.Errorf("%s was started %d times", w, n)
			}
		}
	}},
	{name: "arguments change while it builds", workers: 1, options: "build_wait_timeout = 600", retire: true, run: func(l *life) {
		w := l.workers[0]
		l.set(l.name, "busy")
		one := l.force("a")
		l.phase(one, "ready")
		l.change(func(lines map[string]string) {
			lines[l.name] = strings.Replace(lines[l.name], "= 600", `= 600, masterFQDN = "localhost"`, 1)
		})
		two := l.force("a", true)
		l.why(two, "on an instance that does not serve this build")
		l.unset(l.name, "busy")
		l.done(one, 0)
		l.done(two, 0)
		l.did(w, "start", 2)
	}},
	{name: "a worker is renamed while it builds", workers: 1, options: "build_wait_timeout = 600", retire: true, run: func(l *life) {
		l.set(l.name, "busy")
		one := l.force("a")
		l.phase(one, "ready")
		was, now := l.workers[0], l.name+"w9"
		l.change(func(lines map[string]string) { lines[l.name] = strings.Replace(lines[l.name], was, now, 1) })
		l.workers = append(l.workers, now)
		l.done(l.force("a", true), 0)
		if n := l.count(was, "stop"); n != 0 {
			l.t.Errorf("the instance of a build was stopped %d times", n)
		}
		l.unset(l.name, "busy")
		l.done(one, 0)
		l.did(was, "stopped", 1)
	}},
	{name: "a cap keeps a second instance away", workers: 2, options: `max_builds = 1, caps = [util.InstanceCap("one", max_instances = 1)]`, run: func(l *life) {
		l.set(l.name, "busy")
		one := l.force("a")
		l.phase(one, "ready")
		two := l.force("a", true)
		l.why(two, `cap "one" is reached`)
		l.unset(l.name, "busy")
		l.done(one, 0)
		l.done(two, 0)
	}},
}

// TestLives runs all scenarios at once: they are mostly waiting.
func TestLives(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for name, fn := range map[string]func(*testing.T){
		"cases": testLivesCases, "reload": testLivesReload, "shutdown": testLivesShutdown, "killed": testLivesKilled, "killed early": testLivesKilledEarly, "mailed": testLivesMailed,
	} {
		wg.Go(func() { t.Run(name, fn) })
	}
	wg.Wait()
}

// One master has all the cases: each change of the configuration at the end of one is a
// reload in the life of the others.
func testLivesCases(t *testing.T) {
	s := newLives(t, "600", "")
	var all []*life
	for i, c := range livesCases {
		options := c.options
		var network *wire
		if c.wired {
			var at string
			network, at = s.wired()
			options = strings.TrimPrefix(options+", "+at, ", ")
		}
		l := s.add(fmt.Sprintf("x%02d", i), c.workers, options)
		l.wire = network
		all = append(all, l)
	}
	s.write()
	s.start()
	var wg sync.WaitGroup
	for i, c := range livesCases {
		wg.Go(func() {
			t.Run(c.name, func(t *testing.T) {
				l := all[i].in(t)
				c.run(l)
				l.over(c.retire)
			})
		})
	}
	wg.Wait()
	if status := s.stop(); status != 0 {
		t.Errorf("stop: exit status %d", status)
	}
	if left := s.exists("x"); len(left) != 0 {
		t.Errorf("left after the master: %v", left)
	}
}
