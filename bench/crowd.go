package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"buildstar/config"
	"buildstar/engine"
	"buildstar/state"
	"buildstar/state/logfile"
	"buildstar/state/sqlite"
	"buildstar/worker"
)

// crowd is what many workers that do nothing cost.
type crowd struct {
	Attach    time.Duration // from the start of the first to the row of the last
	PerWorker float64       // bytes of heap and stacks of the master
	Resident  float64       // bytes of memory that the system gave it for each; 0: not known here
}

// oursCrowd lets workers of ours come to a master, each in a process of its own.
func oursCrowd(ctx context.Context, p plan, f *figures) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "crowd", "-n", fmt.Sprint(p.crowd))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("crowd of %d workers: %w", p.crowd, err)
	}
	return json.Unmarshal(out, &f.crowd)
}

// crowdMain is the master of the crowd: only its own memory is measured.
func crowdMain(args []string) error {
	fs := flag.NewFlagSet("crowd", flag.ExitOnError)
	n := fs.Int("n", 1000, "workers")
	fs.Parse(args)
	dir, err := os.MkdirTemp("", "buildstar-crowd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	quiet := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(context.Background(), filepath.Join(dir, "state.sqlite"), sqlite.Options{Log: quiet})
	if err != nil {
		return err
	}
	defer store.Close()
	logs, err := logfile.Open(filepath.Join(dir, "logs"), logfile.Options{Log: quiet})
	if err != nil {
		return err
	}
	defer logs.Close()
	snap := config.Snapshot{Master: config.Master{WorkerListen: []config.Listen{{Host: "127.0.0.1"}}}}
	b := &config.Builder{Name: "b", WorkerBuilddir: "b", Factory: &config.Factory{}}
	for i := range *n {
		w := &config.Worker{Name: fmt.Sprint("w", i), Class: "Worker", Password: "p", Keepalive: time.Hour}
		snap.Workers, b.Workers = append(snap.Workers, w), append(b.Workers, w.Name)
	}
	snap.Builders = []*config.Builder{b}
	m := engine.New(engine.Options{Basedir: dir, Store: store, Logs: logs, Logger: quiet,
		Load: func(context.Context) (*config.Snapshot, error) { return config.New(snap), nil }})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	select {
	case <-m.Ready():
	case err := <-ended:
		return err
	}
	c, err := measureCrowd(ctx, m, dir, *n)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c)
}

func measureCrowd(ctx context.Context, m *engine.Master, dir string, n int) (c crowd, err error) {
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := m.Store().Subscribe(ctx, "workers/*/connected")
	before, residentBefore := memory()
	cmd := exec.CommandContext(ctx, self, "crowd-workers", "-url", "ws://"+m.WorkerAddrs()[0].String(), "-n", fmt.Sprint(n), "-dir", filepath.Join(dir, "workers"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // its end is theirs
	if err != nil {
		return c, err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return c, err
	}
	defer func() {
		in.Close()
		err = errors.Join(err, cmd.Wait())
	}()
	if err := waitLine(out, "ready"); err != nil {
		return c, err
	}
	start := time.Now()
	if _, err := io.WriteString(in, "go\n"); err != nil {
		return c, err
	}
	for left := n; left > 0; {
		e, ok := <-events.C
		switch {
		case !ok:
			return c, events.Err()
		case e.Row.(state.Worker).Connected:
			left--
		}
	}
	c.Attach = time.Since(start)
	after, residentAfter := memory()
	c.PerWorker, c.Resident = (after-before)/float64(n), (residentAfter-residentBefore)/float64(n)
	return c, nil
}

// memory is what the heap and the stacks hold after everything unused is gone, and all
// that the process then has of the system but its files (RssAnon).
func memory() (held, resident float64) {
	for range 4 { // a stack shrinks by half each time
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	data, _ := os.ReadFile("/proc/self/status") // Linux has it
	if _, rest, ok := strings.Cut(string(data), "RssAnon:"); ok {
		fmt.Sscanf(rest, "%f", &resident)
	}
	return float64(m.HeapInuse + m.StackInuse), resident * 1024
}

// crowdWorkersMain runs workers w0, w1, ... of ours from the first line on stdin to its
// end.
func crowdWorkersMain(args []string) error {
	fs := flag.NewFlagSet("crowd-workers", flag.ExitOnError)
	url := fs.String("url", "", "ws://HOST:PORT")
	n := fs.Int("n", 1, "how many")
	dir := fs.String("dir", "", "where")
	fs.Parse(args)
	fmt.Println("ready")
	if err := waitLine(os.Stdin, "go"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range *n {
		name := fmt.Sprint("w", i)
		wg.Go(func() {
			err := worker.Run(ctx, worker.Config{MasterURL: *url, Name: name, Password: "p", Basedir: filepath.Join(*dir, name),
				Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		})
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	cancel()
	wg.Wait()
	return err
}
