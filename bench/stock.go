package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// stockConfig is the master.cfg of the measurements. Debian's Buildbot has no web
// server, so a service inside it queues the builds and counts those that finish.
//
//go:embed stock.cfg
var stockConfig string

func measureStock(ctx context.Context, p plan) (figures, error) {
	var f figures
	dir, err := os.MkdirTemp("", "stock-bench-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	start, err := newStock(ctx, filepath.Join(dir, "start"), p.builders, 100, simpleSteps(3), 0)
	if err != nil {
		return f, err
	}
	if err := start.run(ctx); err != nil {
		return f, err
	}
	f.start, f.startCPU = time.Since(start.proc.start), start.proc.cpu()
	err = start.reload(ctx, &f)
	start.proc.stop()
	if err != nil {
		return f, err
	}
	if err := stockTransfer(ctx, filepath.Join(dir, "transfer"), p, &f); err != nil {
		return f, err
	}

	builds, err := newStock(ctx, filepath.Join(dir, "builds"), benchBuilders, p.workers, simpleSteps(p.steps), p.stockBuilds)
	if err != nil {
		return f, err
	}
	wall, cpu, err := builds.measure(ctx, p.workers)
	if err != nil {
		return f, err
	}
	f.builds = building{cpu / time.Duration(p.stockBuilds), float64(p.stockBuilds) / wall.Seconds()}

	log, err := newStock(ctx, filepath.Join(dir, "log"), 1, 1, logSteps(p.stockLogMB), 1)
	if err != nil {
		return f, err
	}
	wall, cpu, err = log.measure(ctx, 1)
	f.logMBps, f.logCPU = float64(p.stockLogMB)/wall.Seconds(), cpu/time.Duration(p.stockLogMB)
	return f, err
}

// stockMaster is one basedir of a stock master.
type stockMaster struct {
	dir  string
	port int
	proc *process
}

func newStock(ctx context.Context, dir string, builders, workers int, steps string, queue int) (*stockMaster, error) {
	if out, err := exec.CommandContext(ctx, "buildbot", "create-master", dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("buildbot create-master: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	config := strings.NewReplacer(
		"{WORKERS}", strings.Join(names("w", workers), ", "),
		"{BUILDERS}", builderNames(builders),
		"{STEPS}", steps,
		"{PORT}", fmt.Sprint(port),
		"{QUEUE}", fmt.Sprint(queue),
		"{DIR}", dir,
	).Replace(stockConfig)
	return &stockMaster{dir: dir, port: port}, os.WriteFile(filepath.Join(dir, "master.cfg"), []byte(config), 0o644)
}

// run starts the master and waits until it says that it runs.
func (s *stockMaster) run(ctx context.Context) error {
	out, err := os.Create(filepath.Join(s.dir, "out"))
	if err != nil {
		return err
	}
	defer out.Close()
	if s.proc, err = startProcess(ctx, out, "buildbot", "start", "--nodaemon", s.dir); err != nil {
		return err
	}
	return poll(ctx, 5*time.Millisecond, func() (bool, error) {
		if s.proc.cmd.ProcessState != nil {
			return false, fmt.Errorf("buildbot ended")
		}
		for _, name := range []string{"out", "twistd.log"} {
			if data, err := os.ReadFile(filepath.Join(s.dir, name)); err == nil && strings.Contains(string(data), "BuildMaster is running") {
				return true, nil
			}
		}
		return false, nil
	})
}

// measure starts the master, waits until it has queued its builds, and measures it
// until they are done.
func (s *stockMaster) measure(ctx context.Context, workers int) (wall, cpu time.Duration, err error) {
	if err := s.run(ctx); err != nil {
		return 0, 0, err
	}
	defer s.proc.stop()
	if err := s.said(ctx, "queued"); err != nil {
		return 0, 0, err
	}
	return s.proc.during(ctx, s.port, workers, func() error { return s.said(ctx, "done") })
}

// said waits until the service inside the master wrote a file.
func (s *stockMaster) said(ctx context.Context, what string) error {
	return poll(ctx, 5*time.Millisecond, func() (bool, error) {
		_, err := os.Stat(filepath.Join(s.dir, what))
		return err == nil, nil
	})
}
