package e2e

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// buildstar runs a command to its end and returns its output and exit status.
func buildstar(t *testing.T, args ...string) (output string, status int) {
	t.Helper()
	out, err := exec.Command(binary, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		status = exit.ExitCode()
	}
	return string(out), status
}

func wantOutput(t *testing.T, want string, status int, args ...string) {
	t.Helper()
	out, got := buildstar(t, args...)
	if got != status || !strings.Contains(out, want) {
		t.Errorf("buildstar %s: status %d, want %d; output %q, want it to contain %q", strings.Join(args, " "), got, status, out, want)
	}
}

func TestCommandLine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ci")
	wantOutput(t, "create-master", 0, "help")
	wantOutput(t, "usage: buildstar start", 0, "start", "--help")
	wantOutput(t, `did you mean "start"`, 2, "strat")
	wantOutput(t, "flag provided but not defined", 2, "start", "--frob")
	wantOutput(t, "buildstar ", 0, "version")
	wantOutput(t, "create-master", 1, "start", dir)
	wantOutput(t, "created", 0, "create-master", dir)
	wantOutput(t, "kept", 0, "create-master", dir)
	wantOutput(t, "master.star is good: 1 worker, 1 builder, 1 scheduler", 0, "checkconfig", dir)
	wantOutput(t, "no master runs on", 1, "stop", dir)
	wantOutput(t, "no master runs on", 1, "explain", "1", dir)
	wantOutput(t, "which master", 2, "worker", "--name", "x")
	wantOutput(t, "no password", 2, "worker", "--name", "x", "--master", "127.0.0.1:1")
}

func TestCheckconfigShowsEveryProblem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "master.star")
	config := `c = {}
c["workers"] = [worker.Worker("a b", "p"), worker.Worker("w", "p", max_bulids = 2)]
c["builders"] = [util.BuilderConfig(name = "x", workernames = ["ww"], factory = util.BuildFactory([]))]
c["schedulers"] = [schedulers.ForceScheduler(name = "f", builderNames = ["y"])]
c["protocols"] = {"pb": {"port": 9989}}
`
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	out, status := buildstar(t, "checkconfig", file)
	if status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	for _, want := range []string{"master.star:2:", `"max_builds"`, "master.star:3:", `"ww"`, "master.star:4:", `"y"`, "--protocol=msgpack_experimental_v7"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	wantOutput(t, "", 1, "start", file)
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), "state.sqlite")); err == nil {
		t.Error("a master that could not start left a database behind")
	}
}

const idle = `
c = {}
c["workers"] = [worker.Worker("w", "p"), worker.LocalWorker("l")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
c["builders"] = [
    util.BuilderConfig(name = "waits", workernames = ["w"], factory = util.BuildFactory([steps.ShellCommand(command = "true")])),
    util.BuilderConfig(name = "sleeps", workernames = ["l"], factory = util.BuildFactory([steps.ShellCommand(command = "sleep 600")])),
]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["waits", "sleeps"])]
`

func TestRunningMaster(t *testing.T) {
	m := newMaster(t, idle)
	m.start()
	out, status := buildstar(t, "start", m.dir)
	if status != 1 || !strings.Contains(out, "a master already runs") || !strings.Contains(out, "pid ") {
		t.Errorf("a second start: status %d, %q", status, out)
	}
	id := m.force(m.builders()["waits"], nil)
	wantOutput(t, `worker "w"`, 0, "explain", strconv.FormatInt(id, 10), m.dir)
	wantOutput(t, `there is no buildrequest "99999"`, 1, "explain", "99999", m.dir)
	wantOutput(t, "change 1 was added", 0, "sendchange", "--dir", m.dir, "--who", "ann", "--branch", "main", "a.c")
	if found := get[struct{ Author string }](m, "changes?branch=main&files__contains=a.c", "changes"); len(found) != 1 || found[0].Author != "ann" {
		t.Errorf("changes that were sent: %+v", found)
	}
	m.force(m.builders()["sleeps"], nil)
	m.waitFor("a build runs", func() bool { return len(get[build](m, "builds?complete=false", "builds")) == 1 })
	out, status = buildstar(t, "stop", m.dir)
	if status != 0 || !strings.Contains(out, "stopped") {
		t.Errorf("stop: status %d, %q", status, out)
	}
	m.cmd.Wait()
	m.cmd = nil
	m.start()
	checkResult(t, one[build](m, "builds/1", "builds"), 5)
	m.waitFor("the build was queued again and runs", func() bool { return len(get[build](m, "builds?complete=false", "builds")) == 1 })
}

// TestHostile shows that what strangers send costs their own connection and nothing
// else.
func TestHostile(t *testing.T) {
	m := newMaster(t, idle)
	m.start()
	m.startOwn("w", "p")
	m.connected("w")
	workers := net.JoinHostPort("127.0.0.1", strconv.Itoa(m.workers))

	t.Run("not http", func(t *testing.T) {
		c, err := net.Dial("tcp", workers)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("\x00\xff\xfe garbage\r\n\r\n"))
	})
	t.Run("wrong password", func(t *testing.T) {
		req, _ := http.NewRequest(http.MethodGet, "http://"+workers+"/", nil)
		req.SetBasicAuth("w", "wrong")
		for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
			req.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("got %s, want 401", res.Status)
		}
		m.waitFor("a log line about it", func() bool { return strings.Contains(m.log.String(), "wrong password") })
	})
	for name, frame := range map[string][]byte{
		"array bomb":   {0xdd, 0x7f, 0xff, 0xff, 0xff},
		"deep nesting": []byte(strings.Repeat("\x91", 1<<20)),
		"random":       []byte("\x85\xa2op\xa6update\x01\x02\x03"),
		"empty":        {},
	} {
		t.Run(name, func(t *testing.T) {
			// The worker w is attached, so this login is a duplicate until that is decided:
			// what is sent meanwhile must not hurt.
			d := websocket.Dialer{HandshakeTimeout: 10 * time.Second}
			h := http.Header{"Authorization": {"Basic dzpw"}}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			c, _, err := d.DialContext(ctx, "ws://"+workers+"/", h)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.WriteMessage(websocket.BinaryMessage, frame)
			c.SetReadDeadline(time.Now().Add(30 * time.Second))
			for {
				if _, _, err := c.ReadMessage(); err != nil {
					break
				}
			}
		})
	}
	m.connected("w")
	checkResult(t, m.finished(m.force(m.builders()["waits"], nil)), 0)
	if status := m.stop(); status != 0 {
		t.Errorf("the master exited with %d", status)
	}
}
