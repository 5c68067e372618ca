package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// tunnel is an HTTP proxy that leads to one address, wherever one wants to go.
func tunnel(t *testing.T, to string) (proxy string, asked chan string) {
	t.Helper()
	asked = make(chan string, 10)
	var copies sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		there, err := net.Dial("tcp", to)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		copies.Go(func() { io.Copy(there, here); there.Close() })
		copies.Go(func() { io.Copy(here, there); here.Close() })
	}))
	t.Cleanup(func() {
		srv.Close()
		copies.Wait()
	})
	return srv.URL, asked
}

// A worker behind a proxy that the environment names builds; SIGTERM ends it with 0, and
// nothing that it started is left, not even what ignores SIGTERM.
func TestOwnWorkerEnds(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	m := newMaster(t, strings.ReplaceAll(idle, `command = "true"`, `command = "trap '' TERM; exec 3>`+fifo+`; sleep 600 & wait"`))
	m.start()
	proxy, asked := tunnel(t, fmt.Sprintf("127.0.0.1:%d", m.workers))
	t.Setenv("HTTP_PROXY", proxy)
	t.Setenv("BUILDSTAR_PASSWORD", "p")
	cmd := m.run(binary, "worker", "--master", "ws://ci.invalid:9989", "--name", "w", "--basedir", filepath.Join(t.TempDir(), "w"))
	if got := <-asked; got != "CONNECT ci.invalid:9989" {
		t.Errorf("the proxy was asked %q", got)
	}
	m.connected("w")
	m.force(m.builders()["waits"], nil)
	f, err := os.Open(fifo) // returns once the command has opened it
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("the worker exited with %d after SIGTERM", status)
	}
	if err := f.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(make([]byte, 1)); err != io.EOF { // which is when the last of its processes is gone
		t.Errorf("what the command started lives on: %v", err)
	}
}
