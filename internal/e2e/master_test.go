// Package e2e runs the real binary: a master, stock workers, our own, and people
// who force, stop and kill things.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"buildstar/internal/dockertest"
)

// binary is the program under test, built with the race detector.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "buildstar-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "buildstar")
	build := exec.Command("go", "build", "-race", "-o", binary, "buildstar")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	status := dockertest.Main(m)
	os.RemoveAll(dir)
	os.Exit(status)
}

// freePort returns a port that nothing listens at.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// master is one basedir, and the process that runs on it.
type master struct {
	t            *testing.T
	dir          string
	web, workers int // ports
	cmd          *exec.Cmd
	log          *lockedBuffer
}

// newMaster writes master.star with {WEB} and {WORKERS} replaced by ports.
func newMaster(t *testing.T, config string) *master {
	t.Helper()
	m := &master{t: t, dir: t.TempDir(), web: freePort(t), workers: freePort(t), log: &lockedBuffer{}}
	m.configure(config)
	return m
}

func (m *master) configure(config string) {
	m.t.Helper()
	r := strings.NewReplacer("{WEB}", fmt.Sprint(m.web), "{WORKERS}", fmt.Sprint(m.workers))
	if err := os.WriteFile(filepath.Join(m.dir, "master.star"), []byte(r.Replace(config)), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// start runs the master and returns when it says that it is running.
func (m *master) start() {
	m.t.Helper()
	m.launch(binary, "start")
}

// launch is start with a version of the program and one of its commands.
func (m *master) launch(binary, command string) {
	m.t.Helper()
	cmd := exec.Command(binary, command, "-v", m.dir)
	cmd.Stderr = m.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.cmd = cmd
	m.t.Cleanup(func() {
		if m.cmd == cmd {
			m.stop() // a killed master leaves commands of local workers to its next start
		}
		if m.t.Failed() {
			m.t.Logf("the master's log:\n%s", m.log.tail(20000))
		}
		if s := m.log.String(); strings.Contains(s, "DATA RACE") {
			m.t.Errorf("the race detector reported:\n%s", s)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "buildstar is running: ") {
		cmd.Wait()
		m.t.Fatalf("start printed %q (%v), not that it runs; its log:\n%s", line, err, m.log)
	}
	go io.Copy(io.Discard, out)
}

// kill is kill -9.
func (m *master) kill() {
	m.cmd.Process.Kill()
	m.cmd.Wait()
	m.cmd = nil
}

// stop is SIGTERM; it returns the exit status.
func (m *master) stop() int {
	m.t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		m.t.Fatal(err)
	}
	m.cmd.Wait()
	status := m.cmd.ProcessState.ExitCode()
	m.cmd = nil
	return status
}

func (m *master) url(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", m.web, path) }

// get reads a REST collection.
func get[T any](m *master, path, plural string) []T {
	m.t.Helper()
	rows, err := tryGet[T](m, path, plural)
	if err != nil {
		m.t.Fatal(err)
	}
	return rows
}

func tryGet[T any](m *master, path, plural string) ([]T, error) {
	req, err := http.NewRequest(http.MethodGet, m.url("/api/v2/"+path), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s: %s", path, res.Status, body)
	}
	var answer map[string]json.RawMessage
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("GET %s: %v: %s", path, err, body)
	}
	var rows []T
	if err := json.Unmarshal(answer[plural], &rows); err != nil {
		return nil, fmt.Errorf("GET %s: %v: %s", path, err, body)
	}
	return rows, nil
}

func one[T any](m *master, path, plural string) T {
	m.t.Helper()
	rows := get[T](m, path, plural)
	if len(rows) != 1 {
		m.t.Fatalf("GET %s: want one row, got %d", path, len(rows))
	}
	return rows[0]
}

// raw reads a log as text.
func (m *master) raw(logID int64) string {
	m.t.Helper()
	res, err := http.Get(m.url(fmt.Sprintf("/api/v2/logs/%d/raw", logID)))
	if err != nil {
		m.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		m.t.Fatalf("raw log %d: %s %v", logID, res.Status, err)
	}
	return string(body)
}

// post calls a JSON-RPC method and decodes its result.
func (m *master) post(path, method string, params map[string]any, result any) {
	m.t.Helper()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		m.t.Fatal(err)
	}
	res, err := http.Post(m.url("/api/v2/"+path), "application/json", bytes.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		m.t.Fatalf("POST %s %s: %s: %s", path, method, res.Status, text)
	}
	answer := struct{ Result any }{result}
	if err := json.Unmarshal(text, &answer); err != nil {
		m.t.Fatalf("POST %s %s: %v: %s", path, method, err, text)
	}
}

// force fires the force scheduler for one builder and returns the request's id.
func (m *master) force(builderID int64, params map[string]any) int64 {
	m.t.Helper()
	all := map[string]any{"builderid": builderID}
	for k, v := range params {
		all[k] = v
	}
	var result []json.RawMessage
	m.post("forceschedulers/force", "force", all, &result)
	var requests map[string]int64
	if len(result) != 2 || json.Unmarshal(result[1], &requests) != nil || len(requests) != 1 {
		m.t.Fatalf("force answered %s", result)
	}
	for _, id := range requests {
		return id
	}
	return 0
}

type build struct {
	ID, Number, BuilderID, WorkerID int64
	Complete                        bool
	Results                         *int
	StateString                     string `json:"state_string"`
	BuildRequestID                  int64
}

type request struct {
	BuildRequestID    int64
	Claimed, Complete bool
	Results           int
}

type step struct {
	StepID, Number int64
	Name           string
	Complete       bool
	Results        *int
	StateString    string `json:"state_string"`
}

type logRow struct {
	LogID    int64
	Name     string
	Complete bool
	NumLines int64 `json:"num_lines"`
}

// waitFor polls until ok, as a script that watches the REST API does.
func (m *master) waitFor(what string, ok func() bool) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			m.t.Fatalf("after five minutes still not: %s", what)
		case <-tick.C:
		}
	}
}

// finished waits until a request is complete and returns its last build.
func (m *master) finished(requestID int64) build {
	m.t.Helper()
	m.waitFor(fmt.Sprintf("request %d complete", requestID), func() bool {
		return one[request](m, fmt.Sprintf("buildrequests/%d", requestID), "buildrequests").Complete
	})
	builds := get[build](m, fmt.Sprintf("buildrequests/%d/builds", requestID), "builds")
	if len(builds) == 0 {
		m.t.Fatalf("request %d is complete without a build", requestID)
	}
	return builds[len(builds)-1]
}

// stdio returns the text of a step's stdio log.
func (m *master) stdio(buildID int64, step int) string {
	m.t.Helper()
	l := one[logRow](m, fmt.Sprintf("builds/%d/steps/%d/logs/stdio", buildID, step), "logs")
	return m.raw(l.LogID)
}

func (b *build) UnmarshalJSON(data []byte) error {
	type plain build
	aux := struct {
		*plain
		BuildID int64 `json:"buildid"`
	}{plain: (*plain)(b)}
	err := json.Unmarshal(data, &aux)
	b.ID = aux.BuildID
	return err
}

// lockedBuffer is a buffer that a process writes while the test reads.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *lockedBuffer) tail(n int) string {
	s := b.String()
	return s[max(0, len(s)-n):]
}
