package worker

import (
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// tlsMaster accepts WebSockets over TLS. It returns its address and a file with the
// certificate to trust.
func tlsMaster(t *testing.T) (address, caFile string) {
	t.Helper()
	var up websocket.Upgrader
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := up.Upgrade(w, r, nil); err == nil {
			c.Close()
		}
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it hears of refused certificates
	srv.StartTLS()
	t.Cleanup(srv.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	return "wss" + strings.TrimPrefix(srv.URL, "https"), caFile
}

// httpProxy tunnels for who has the password, and counts.
func httpProxy(t *testing.T) (proxy *url.URL, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var targets []string
	var tunnels sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		targets = append(targets, r.Method+" "+r.Host)
		mu.Unlock()
		if user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth(); user != "me" || password != "p@ss" {
			http.Error(w, "who are you?", http.StatusProxyAuthRequired)
			return
		}
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		tunnels.Go(func() { io.Copy(there, here); there.Close() })
		tunnels.Go(func() { io.Copy(here, there); here.Close() })
	}))
	t.Cleanup(func() {
		srv.Close()
		tunnels.Wait()
	})
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return targets
	}
}

// connect dials once.
func connect(t *testing.T, cfg Config) error {
	t.Helper()
	cfg.Name = "w"
	d, err := newDialer(cfg)
	if err != nil {
		return err
	}
	c, err := d.dial(t.Context())
	if err == nil {
		c.Close("")
	}
	return err
}

func TestTLS(t *testing.T) {
	master, ca := tlsMaster(t)
	if err := connect(t, Config{MasterURL: master, CAFile: ca}); err != nil {
		t.Error(err)
	}
	if err := connect(t, Config{MasterURL: master}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with the system's certificates: %v", err)
	}
	if err := connect(t, Config{MasterURL: master, CAFile: ca + "x"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	writeFile(t, empty, "no PEM")
	if err := connect(t, Config{MasterURL: master, CAFile: empty}); err == nil || !strings.Contains(err.Error(), "there is none in "+empty) {
		t.Errorf("with an empty file: %v", err)
	}
}

// A renewed file of certificates is read at the next attempt.
func TestTLSRenewed(t *testing.T) {
	first, ca := tlsMaster(t)
	d, err := newDialer(Config{MasterURL: first, CAFile: ca, Name: "w"})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, ca, "no PEM any more")
	if c, err := d.dial(t.Context()); err == nil {
		c.Close("")
		t.Error("the old certificates are still trusted")
	}
}

func TestProxy(t *testing.T) {
	secure, ca := tlsMaster(t)
	plain, conns := socketMaster(t)
	proxy, asked := httpProxy(t)
	who := *proxy
	who.User = url.UserPassword("me", "p@ss")
	if err := connect(t, Config{MasterURL: secure, CAFile: ca, Proxy: who.String()}); err != nil {
		t.Error(err)
	}
	if err := connect(t, Config{MasterURL: plain, Password: "p:w\u00e9", Proxy: who.String()}); err != nil {
		t.Error(err)
	}
	(<-conns).Close()
	want := "CONNECT " + strings.TrimPrefix(secure, "wss://") + " CONNECT " + strings.TrimPrefix(plain, "ws://")
	if got := strings.Join(asked(), " "); got != want {
		t.Errorf("the proxy was asked %s, want %s", got, want)
	}
	err := connect(t, Config{MasterURL: secure, CAFile: ca, Proxy: proxy.String()})
	if err == nil || !strings.Contains(err.Error(), "proxy "+proxy.Host+": it answered 407") {
		t.Errorf("without a password: %v", err)
	}
}

func TestProxyAddress(t *testing.T) {
	master := &url.URL{Scheme: "wss", Host: "ci.example.com:9989"}
	for _, bad := range []string{"socks5://x:1", "x:1", "http://", "https://me:secret@x:1", "http://me:secret@x:port"} {
		_, err := chooseProxy(bad, master)
		if err == nil || !strings.Contains(err.Error(), "want http://HOST:PORT") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	choose, err := chooseProxy("http://p:1", master)
	if err != nil {
		t.Fatal(err)
	}
	if u, err := choose(master.Host); err != nil || u.Host != "p:1" {
		t.Errorf("got %v, %v", u, err)
	}
}

// A proxy that answers nonsense, or nothing before its time is over.
func TestProxyBroken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		for _, answer := range []string{"HTTP/1.1 503\r\n\r\n", "SSH-2.0-x\r\n", ""} {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(c, answer)
			c.Close()
		}
	}()
	for _, want := range []string{"it answered 503", "malformed", ""} {
		err := connect(t, Config{MasterURL: "ws://ci.example.com:9989", Proxy: "http://" + l.Addr().String()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	<-answered
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
