package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// benchBuilders is how many builders the builds are spread over.
const benchBuilders = 10

func measureOurs(ctx context.Context, p plan) (figures, error) {
	var f figures
	dir, err := os.MkdirTemp("", "buildstar-bench-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "buildstar")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "buildstar")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return f, fmt.Errorf("go build: %w\n%s", err, out)
	}
	if err := oursStart(ctx, binary, filepath.Join(dir, "start"), p, &f); err != nil {
		return f, err
	}
	if f.builds, err = oursBuilds(ctx, binary, filepath.Join(dir, "builds"), p); err != nil {
		return f, err
	}
	if f.lasting, err = oursBuilds(ctx, binary, filepath.Join(dir, "lasting"), p, "-lasting"); err != nil {
		return f, err
	}
	if err := oursChanges(ctx, binary, filepath.Join(dir, "changes"), p, &f); err != nil {
		return f, err
	}
	if err := oursLog(ctx, binary, filepath.Join(dir, "log"), p, &f); err != nil {
		return f, err
	}
	if err := oursCrowd(ctx, p, &f); err != nil {
		return f, err
	}
	return f, oursTransfer(ctx, binary, filepath.Join(dir, "transfer"), p, &f)
}

// ourConfig writes a master.star and returns the ports of the page and the
// workers.
func ourConfig(dir string, builders, workers int, steps string) (web, port int, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, 0, err
	}
	if web, err = freePort(); err != nil {
		return 0, 0, err
	}
	if port, err = freePort(); err != nil {
		return 0, 0, err
	}
	config := fmt.Sprintf(`c = {}
ws = [%s]
c["workers"] = [worker.Worker(w, "p") for w in ws]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:%d:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:%d:interface=127.0.0.1"}
c["collapseRequests"] = False
c["builders"] = [util.BuilderConfig(name = b, workernames = ws, factory = util.BuildFactory(%s)) for b in %s]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = [b.name for b in c["builders"]])]
`, strings.Join(names("w", workers), ", "), port, web, steps, builderNames(builders))
	return web, port, os.WriteFile(filepath.Join(dir, "master.star"), []byte(config), 0o644)
}

// ourMaster starts a master and returns once it runs.
func ourMaster(ctx context.Context, binary, dir string) (*process, error) {
	r, w := io.Pipe()
	p, err := startProcess(ctx, w, binary, "start", dir)
	if err != nil {
		return nil, err
	}
	if err := waitLine(r, "buildstar is running: "); err != nil {
		return nil, err
	}
	go io.Copy(io.Discard, r)
	return p, nil
}

func oursStart(ctx context.Context, binary, dir string, p plan, f *figures) error {
	web, _, err := ourConfig(dir, p.builders, 100, simpleSteps(3))
	if err != nil {
		return err
	}
	m, err := ourMaster(ctx, binary, dir)
	if err != nil {
		return err
	}
	defer m.stop()
	f.start, f.startCPU = time.Since(m.start), m.cpu()
	return oursReload(web, dir, f)
}

func simpleSteps(n int) string {
	return "[" + strings.Join(slices.Repeat([]string{`steps.ShellCommand(command = "true")`}, n), ", ") + "]"
}

// oursBuilds queues all builds, then lets workers of a kind come, and measures until
// every build is complete.
func oursBuilds(ctx context.Context, binary, dir string, p plan, kind ...string) (f building, err error) {
	web, port, err := ourConfig(dir, benchBuilders, p.workers, simpleSteps(p.steps))
	if err != nil {
		return f, err
	}
	m, err := ourMaster(ctx, binary, dir)
	if err != nil {
		return f, err
	}
	defer m.stop()
	for i := range p.builds {
		if err := force(web, 1+i%benchBuilders); err != nil {
			return f, err
		}
	}
	wall, cpu, err := m.during(ctx, port, p.workers, func() error { return waitBuilds(ctx, web, p.builds) }, kind...)
	if err != nil {
		return f, err
	}
	return building{cpu / time.Duration(p.builds), float64(p.builds) / wall.Seconds()}, nil
}

// during starts null workers, waits for done, and returns wall and CPU time of the
// master meanwhile.
func (p *process) during(ctx context.Context, port, workers int, done func() error, kind ...string) (wall, cpu time.Duration, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	before, start := p.cpu(), time.Now()
	args := append([]string{"null", "-url", fmt.Sprintf("ws://127.0.0.1:%d", port), "-n", fmt.Sprint(workers)}, kind...)
	null, err := startProcess(ctx, os.Stderr, self, args...)
	if err != nil {
		return 0, 0, err
	}
	err = done()
	wall, cpu = time.Since(start), p.cpu()-before
	null.cmd.Process.Kill()
	null.cmd.Wait()
	return wall, cpu, err
}

func oursLog(ctx context.Context, binary, dir string, p plan, f *figures) error {
	web, port, err := ourConfig(dir, 1, 1, logSteps(p.logMB))
	if err != nil {
		return err
	}
	m, err := ourMaster(ctx, binary, dir)
	if err != nil {
		return err
	}
	defer m.stop()
	if err := force(web, 1); err != nil {
		return err
	}
	wall, cpu, err := m.during(ctx, port, 1, func() error { return waitBuilds(ctx, web, 1) })
	if err != nil {
		return err
	}
	f.logMBps = float64(p.logMB) / wall.Seconds()
	f.logCPU = cpu / time.Duration(p.logMB)
	return nil
}

func logSteps(mb int) string {
	return fmt.Sprintf(`[steps.ShellCommand(command = "LOG %d")]`, mb)
}

func force(web, builder int) error {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"force","params":{"builderid":%d}}`, builder)
	res, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/api/v2/forceschedulers/force", web), "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("force: %s: %s", res.Status, text)
	}
	return err
}

// waitBuilds waits until n builds are complete.
func waitBuilds(ctx context.Context, web, n int) error {
	url := fmt.Sprintf("http://127.0.0.1:%d/api/v2/builds?complete=true&limit=1", web)
	return poll(ctx, 20*time.Millisecond, func() (bool, error) {
		var answer struct{ Meta struct{ Total int } }
		err := get(ctx, url, &answer)
		return answer.Meta.Total >= n, err
	})
}

// waitConnected waits until the only worker is connected.
func waitConnected(ctx context.Context, web int) error {
	url := fmt.Sprintf("http://127.0.0.1:%d/api/v2/workers/1", web)
	return poll(ctx, 5*time.Millisecond, func() (bool, error) {
		var answer struct {
			Workers []struct {
				Connected []any `json:"connected_to"`
			}
		}
		err := get(ctx, url, &answer)
		return err == nil && len(answer.Workers[0].Connected) > 0, err
	})
}

// get reads JSON.
func get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}
