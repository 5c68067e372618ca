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
	"buildstar/engine/sched"
	"buildstar/state"
)

// killedIn is the environment variable that makes the test binary a master to be
// killed; its value is the directory.
const killedIn = "BUILDSTAR_TEST_KILLED_IN"

const killedBuilds = 6

func killedConfig(command string) *config.Snapshot {
	snap := config.Snapshot{}
	for i := range killedBuilds {
		name := fmt.Sprint("b", i)
		snap.Workers = append(snap.Workers, &config.Worker{Name: "w" + name, Local: true})
		snap.Builders = append(snap.Builders, &config.Builder{
			Name: name, WorkerBuilddir: name, Workers: []string{"w" + name},
			Factory: &config.Factory{Steps: []config.Step{shell("work", command)}},
		})
	}
	return config.New(snap)
}

// runKilled is the master that is killed: it asks for builds and reports every line
// that a page could have shown.
func runKilled() int {
	dir := os.Getenv(killedIn)
	s := &site{t: &testing.T{}, dir: dir}
	s.open()
	master := New(Options{Basedir: dir, Store: s.store, Logs: s.logs, Logger: quietLog(),
		Load: func(context.Context) (*config.Snapshot, error) {
			return killedConfig("i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done"), nil
		}})
	sub := s.store.Subscribe(context.Background(), "logs/*/append")
	go master.Run(context.Background())
	<-master.Ready()
	for i := range killedBuilds {
		if _, err := master.Submit(context.Background(), sched.Buildset{Scheduler: "f", Builders: []string{fmt.Sprint("b", i)}}); err != nil {
			fmt.Println("error", err)
		}
	}
	for e := range sub.C {
		l := e.Row.(state.Log)
		fmt.Println("lines", l.BuildID, l.ID, l.NumLines)
	}
	return 1
}

// kill -9 while six builds run: after the next start none of them is left running,
// their requests are built again, and no line that was seen is gone.
func TestKilled(t *testing.T) {
	s := newSite(t)
	s.close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killedIn+"="+s.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	bound := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer bound.Stop()
	type log struct{ build, id int64 }
	seen := map[log]int64{}
	grown := map[int64]bool{} // builds with ten lines
	for in := bufio.NewScanner(out); in.Scan(); {
		var l log
		var n int64
		if _, err := fmt.Sscanf(in.Text(), "lines %d %d %d", &l.build, &l.id, &n); err != nil {
			t.Errorf("the master said %q", in.Text())
			continue
		}
		seen[l] = max(seen[l], n)
		if n > 10 {
			grown[l.build] = true
		}
		if len(grown) == killedBuilds {
			cmd.Process.Kill() // and read what it had said
		}
	}
	cmd.Wait()
	if len(grown) != killedBuilds {
		t.Fatalf("only %d builds ran", len(grown))
	}

	s.open()
	r := s.start(killedConfig("echo again"))
	for request := int64(1); request <= killedBuilds; request++ {
		b := r.finished(request)
		for b.Results == config.Retry {
			b = r.finished(request)
		}
		if b.Results != config.Success {
			t.Errorf("request %d: %+v", request, b)
		}
		if old := r.builds(request)[0]; !old.Complete || old.Results != config.Retry {
			t.Errorf("the killed build: %+v", old)
		}
	}
	for l, n := range seen {
		if have, err := r.Logs().NumLines(l.build, l.id); err != nil || have < n {
			t.Errorf("build %d log %d: %d lines were seen, %d are left, %v", l.build, l.id, n, have, err)
		}
	}
	r.view(func(tx state.ReadTx) error {
		for _, resource := range []string{"builds", "steps", "logs"} {
			if n, err := tx.Count(resource, state.Where("complete", false)); err != nil || n != 0 {
				t.Errorf("%d %s are open, %v", n, resource, err)
			}
		}
		return nil
	})
}
