package engine

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/change"
	"buildstar/engine/sched"
	"buildstar/state"
)

// killedFollowing is killedIn for a master whose schedulers follow changes.
const killedFollowing = "BUILDSTAR_TEST_KILLED_FOLLOWING"

// killedSchedulers has one scheduler that builds each change and one that waits for a
// stable tree. Their builder's worker never comes.
func killedSchedulers(timer time.Duration) *config.Snapshot {
	base := func(name string) sched.Base {
		return sched.Base{Class: "AnyBranchScheduler", Name: name, BuilderNames: prop.Of([]string{"b"}), Codebases: sched.Codebases{{}}}
	}
	snap := *oneBuilder()
	snap.Workers = []*config.Worker{{Name: "w"}}
	snap.Schedulers = []config.Scheduler{&sched.Stable{Base: base("each")}, &sched.Stable{Base: base("stable"), Timer: timer}}
	return config.New(snap)
}

// runKilledFollowing is the master that is killed: it is told of changes, and says so.
func runKilledFollowing() int {
	dir := os.Getenv(killedFollowing)
	s := &site{t: &testing.T{}, dir: dir}
	s.open()
	master := New(Options{Basedir: dir, Store: s.store, Logs: s.logs, Logger: quietLog(),
		Load: func(context.Context) (*config.Snapshot, error) { return killedSchedulers(time.Hour), nil }})
	go master.Run(context.Background())
	<-master.Ready()
	for {
		c, err := master.AddChange(context.Background(), change.Input{Author: "me"})
		if err != nil {
			fmt.Println("error", err)
			return 1
		}
		fmt.Println("change", c.ID)
	}
}

// kill -9 while changes come, again and again: each of them is built once by the
// scheduler that builds each, and the one that waits forgets none.
func TestSchedulersKilled(t *testing.T) {
	s := newSite(t)
	s.close()
	seen := int64(0)
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killedFollowing+"="+s.dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		bound := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		n := 0
		for in := bufio.NewScanner(out); in.Scan(); n++ {
			if _, err := fmt.Sscanf(in.Text(), "change %d", &seen); err != nil {
				t.Errorf("the master said %q", in.Text())
			}
			if n == 20+7*round {
				cmd.Process.Kill() // and read what it had said
			}
		}
		bound.Stop()
		cmd.Wait()
		if n < 20 {
			t.Fatalf("round %d: only %d changes came", round, n)
		}
	}

	s.open()
	r := s.start(killedSchedulers(time.Millisecond))
	var changes []int64
	r.view(func(tx state.ReadTx) error {
		rows, err := tx.Changes(state.Query{})
		for _, c := range rows {
			changes = append(changes, c.ID)
		}
		return err
	})
	if len(changes) < int(seen) || changes[len(changes)-1] < seen {
		t.Errorf("%d changes are there, %d were acknowledged", len(changes), seen)
	}
	r.asked("stable")
	for len(r.sets("each")) < len(changes) {
		r.asked("each") // fails if there is nothing more to come
	}
	if got := len(r.sets("each")); got != len(changes) {
		t.Errorf("%d buildsets of %d changes", got, len(changes))
	}
	if got := len(r.sets("stable")); got != 1 {
		t.Errorf("%d buildsets of a tree that was never stable before", got)
	}
	r.view(func(tx state.ReadTx) error {
		waiting, err := tx.SchedulerChanges(r.schedulerID("stable"))
		if len(waiting) != 0 {
			t.Errorf("%d changes still wait", len(waiting))
		}
		return err
	})
}

// sets returns the ids of the buildsets of a scheduler.
func (r *running) sets(scheduler string) (ids []int64) {
	r.t.Helper()
	r.view(func(tx state.ReadTx) error {
		rows, err := tx.Buildsets(state.Where("scheduler", scheduler))
		for _, b := range rows {
			ids = append(ids, b.ID)
		}
		return err
	})
	return ids
}
