package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"buildstar/config"
	"buildstar/engine"
	"buildstar/state"
	"buildstar/state/sqlite"
	"buildstar/web/api"
)

func TestMain(m *testing.M) {
	// net/http keeps a connection that it refused for half a second, longer than goleak
	// waits.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// master is as much of an engine.Control as a server without requests for actions
// needs.
type master struct {
	engine.Control
	store state.Store
	snap  *config.Snapshot
}

func (m *master) Store() state.Store         { return m.store }
func (m *master) Logs() state.LogStore       { return nil }
func (m *master) Snapshot() *config.Snapshot { return m.snap }
func (m *master) Health() engine.Health      { return engine.Health{Version: "test"} }

func newMaster(t *testing.T, at *config.Listen) *master {
	t.Helper()
	store, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "state.sqlite"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return &master{store: store, snap: config.New(config.Snapshot{Master: config.Master{WWW: config.WWW{Port: at}}})}
}

// journal is a log that a test can read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// start runs a server on a free port of an interface until the test ends; stop ends
// it before.
func start(t *testing.T, host string, opts Options) (s *Server, log *journal, stop func() error) {
	t.Helper()
	log = &journal{}
	opts.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s = New(newMaster(t, &config.Listen{Host: host}), opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-done:
		cancel()
		t.Fatal(err)
	}
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { stop() })
	return s, log, stop
}

func request(t *testing.T, method, url string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(`{"id":1,"jsonrpc":"2.0","method":"stop"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func hello(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s", r.URL.Path) }

func TestServer(t *testing.T) {
	s, log, stop := start(t, "127.0.0.1", Options{UI: http.HandlerFunc(hello)})
	url := s.URL()
	if !strings.HasPrefix(url, "http://127.0.0.1:") || s.Addr().Port == 0 {
		t.Errorf("URL %s, address %v", url, s.Addr())
	}
	resp, body := request(t, "GET", url+"builders/x")
	if resp.StatusCode != 200 || body != "hello /builders/x" {
		t.Errorf("page: %d %s", resp.StatusCode, body)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "script-src 'self'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
	} {
		if !strings.Contains(resp.Header.Get(name), want) {
			t.Errorf("page: %s is %q", name, resp.Header.Get(name))
		}
	}
	for _, forbidden := range []string{"unsafe-inline", "unsafe-eval", "*"} {
		if strings.Contains(resp.Header.Get("Content-Security-Policy"), forbidden) {
			t.Errorf("the policy of pages allows %s", forbidden)
		}
	}
	resp, body = request(t, "GET", url+"api/v2/builders")
	if resp.StatusCode != 200 || !strings.Contains(body, "builders") || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("rest: %d %v %s", resp.StatusCode, resp.Header, body)
	}
	if resp, body = request(t, "GET", url+"robots.txt"); !strings.Contains(body, "Disallow: /api/") {
		t.Errorf("robots.txt: %d %s", resp.StatusCode, body)
	}
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"ws?buildstar=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, data, err := conn.ReadMessage(); err != nil || !strings.Contains(string(data), "hello") {
		t.Errorf("stream: %s, %v", data, err)
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("stream after stop: %v", err)
	}
	if !strings.Contains(log.String(), "uri=/builders/x status=200") || strings.Contains(log.String(), "authentication") {
		t.Errorf("log: %s", log)
	}
}

func TestBeyondLoopback(t *testing.T) {
	s, log, _ := start(t, "", Options{})
	if !strings.HasPrefix(s.URL(), "http://localhost:") {
		t.Errorf("URL %s", s.URL())
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "no authentication") {
		t.Errorf("no warning: %s", log)
	}
	if resp, _ := request(t, "GET", s.URL()); resp.StatusCode != http.StatusNotFound {
		t.Errorf("without pages: %d", resp.StatusCode)
	}
}

func TestNoPort(t *testing.T) {
	s := New(newMaster(t, nil), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	cancel()
	if err := <-done; err != nil || s.URL() != "" || s.Addr() != nil {
		t.Errorf("%v, %q", err, s.URL())
	}
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := New(newMaster(t, &config.Listen{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}), Options{})
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "c['www']['port']") {
		t.Errorf("got %v", err)
	}
}

// The policy stands before every route: pages, forms, the API, the stream.
func TestPolicyGuardsEveryRoute(t *testing.T) {
	m := newMaster(t, nil)
	var asked []api.Action
	ran := false
	s := New(m, Options{
		UI:     http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }),
		Policy: func(_ *http.Request, a api.Action) error { asked = append(asked, a); return errors.New("no") },
		Log:    slog.New(slog.DiscardHandler),
	})
	rest := api.New(m, api.Options{Policy: s.opts.Policy})
	defer rest.Close()
	h := s.Handler(rest)
	routes := append(rest.Routes(), api.Route{Method: "GET", Pattern: "/"}, api.Route{Method: "POST", Pattern: "/builders/x/force"},
		api.Route{Method: "GET", Pattern: "/robots.txt"}, api.Route{Method: "GET", Pattern: "/api"}, api.Route{Method: "GET", Pattern: "/static/app.js"},
		api.Route{Method: "GET", Pattern: "/wsx"}, api.Route{Method: "PUT", Pattern: "/ws"}, api.Route{Method: "OPTIONS", Pattern: "/"},
		api.Route{Method: "GET", Pattern: "/api/v1/x"}, api.Route{Method: "POST", Pattern: "/api/v2"})
	for _, rt := range routes {
		asked = nil
		r, err := http.NewRequest(rt.Method, "http://host"+strings.NewReplacer("{", "", "}", "").Replace(rt.Pattern), strings.NewReader(`{"id":1,"jsonrpc":"2.0","method":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		w := &recorded{header: http.Header{}}
		h.ServeHTTP(w, r)
		if w.status != http.StatusForbidden || len(asked) != 1 || ran {
			t.Errorf("%s %s: %d after asking %q", rt.Method, rt.Pattern, w.status, asked)
		}
	}
	if !slices.ContainsFunc(routes, func(r api.Route) bool { return r.Method == "POST" }) || len(routes) < 80 {
		t.Errorf("only %d routes", len(routes))
	}
}

// recorded is a ResponseWriter that keeps the status.
type recorded struct {
	header http.Header
	status int
}

func (r *recorded) Header() http.Header         { return r.header }
func (r *recorded) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorded) WriteHeader(status int)      { r.status = status }

// A panic costs one request; what had begun is cut, not ended.
func TestPanic(t *testing.T) {
	s, log, _ := start(t, "127.0.0.1", Options{UI: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			w.Write(make([]byte, 100_000))
		}
		if r.URL.Path != "/fine" {
			panic("boom")
		}
	})})
	if resp, body := request(t, "GET", s.URL()+"early"); resp.StatusCode != 500 || strings.Contains(body, "boom") {
		t.Errorf("early: %d %s", resp.StatusCode, body)
	}
	resp, err := http.Get(s.URL() + "late")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("late: half an answer passes for a whole one")
	}
	http.DefaultClient.CloseIdleConnections()
	if resp, _ := request(t, "GET", s.URL()+"fine"); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d", resp.StatusCode)
	}
	if n := strings.Count(log.String(), "panic=boom"); n != 2 {
		t.Errorf("%d panics in the log: %s", n, log)
	}
}

// Whoever does not finish in time is cut off; headers are bounded.
func TestBounds(t *testing.T) {
	entered := make(chan struct{})
	log := &journal{}
	s := New(newMaster(t, &config.Listen{Host: "127.0.0.1"}), Options{Log: slog.New(slog.NewTextHandler(log, nil)),
		UI: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done() // until the connection is cut
		})})
	s.wait = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()

	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", maxHeaderBytes+8192))
	if answer, _ := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 431 ") {
		t.Errorf("long header: %.100s", answer)
	}

	hang, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer hang.Close()
	fmt.Fprint(hang, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stop: %v", err)
	}
}
