package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// reloads are how long a master takes to load its configuration again, evaluation
// included.
type reloads struct{ same, changed time.Duration }

// reloadTimes is how often each is measured; the shortest counts.
const reloadTimes = 3

// measureReloads times reload with the file as it is, and with one builder of it
// changed each time.
func measureReloads(file string, reload func() error) (r reloads, err error) {
	timed := func(best *time.Duration) error {
		start := time.Now()
		err := reload()
		if took := time.Since(start); *best == 0 || took < *best {
			*best = took
		}
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	for i := range reloadTimes {
		if err := timed(&r.same); err != nil {
			return r, err
		}
		changed := fmt.Appendf(bytes.Clone(text), "\nc['builders'][0] = util.BuilderConfig(name='b0', workernames=ws, factory=util.BuildFactory([]), description='%d')\n", i)
		if err := os.WriteFile(file, changed, 0o644); err != nil {
			return r, err
		}
		if err := timed(&r.changed); err != nil {
			return r, err
		}
	}
	return r, nil
}

func oursReload(web int, dir string, f *figures) (err error) {
	f.reload, err = measureReloads(filepath.Join(dir, "master.star"), func() error {
		body := strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"reconfig","params":{}}`)
		res, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/api/v2/masters/1", web), "application/json", body)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("reconfig: %s: %s", res.Status, text)
		}
		return err
	})
	return err
}

func (s *stockMaster) reload(ctx context.Context, f *figures) (err error) {
	const complete = "configuration update complete"
	seen := s.logged(complete)
	f.reload, err = measureReloads(filepath.Join(s.dir, "master.cfg"), func() error {
		seen++
		if err := syscall.Kill(s.proc.cmd.Process.Pid, syscall.SIGHUP); err != nil {
			return err
		}
		return poll(ctx, time.Millisecond, func() (bool, error) { return s.logged(complete) >= seen, nil })
	})
	return err
}

// logged counts how often the master's log says something.
func (s *stockMaster) logged(what string) int {
	n := 0
	for _, name := range []string{"out", "twistd.log"} {
		data, _ := os.ReadFile(filepath.Join(s.dir, name)) // one of them is not there
		n += bytes.Count(data, []byte(what))
	}
	return n
}
