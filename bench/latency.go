package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// oursChanges tells the master changes by REST, one after the other, and measures how
// long it takes until the command of the build arrives at an idle worker.
func oursChanges(ctx context.Context, binary, dir string, p plan, f *figures) error {
	web, port, err := ourConfig(dir, 1, 1, simpleSteps(1))
	if err != nil {
		return err
	}
	config, err := os.OpenFile(filepath.Join(dir, "master.star"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(config, `c["schedulers"].append(schedulers.SingleBranchScheduler(name = "main",
    change_filter = util.ChangeFilter(branch = "main"), builderNames = [b.name for b in c["builders"]]))`, "\n")
	if cerr := config.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	m, err := ourMaster(ctx, binary, dir)
	if err != nil {
		return err
	}
	defer m.stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	arrived := make(chan time.Time, p.changes)
	ended := make(chan error, 1)
	go func() {
		ended <- null(ctx, fmt.Sprintf("ws://127.0.0.1:%d", port), "w0", false, func(command string) {
			if command == "shell" {
				arrived <- time.Now()
			}
		})
	}()
	var took []time.Duration
	for i := range p.changes {
		told := time.Now()
		if err := tellChange(ctx, web, i); err != nil {
			return err
		}
		select {
		case at := <-arrived:
			took = append(took, at.Sub(told))
		case err := <-ended:
			return fmt.Errorf("null worker: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := waitBuilds(ctx, web, i+1); err != nil {
			return err
		}
	}
	slices.Sort(took)
	if len(took) > 0 {
		f.changeLatency = took[len(took)/2]
	}
	return nil
}

// tellChange adds a change by JSON-RPC.
func tellChange(ctx context.Context, web, n int) error {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"add","params":{"author":"A <a@b>","branch":"main","revision":"%040x"}}`, n)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/api/v2/changes", web), bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("add a change: %s: %s", res.Status, text)
	}
	return err
}
