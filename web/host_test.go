package web

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"buildstar/config"
)

// A site that gave its own name our address (DNS rebinding) can change nothing and
// hear nothing, though its Origin and Host agree.
func TestRebinding(t *testing.T) {
	ui := http.HandlerFunc(hello)
	s, _, _ := start(t, "127.0.0.1", Options{UI: ui})
	control := s.control.(*master)
	var client http.Transport
	t.Cleanup(client.CloseIdleConnections)
	ask := func(method, path, host string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, strings.TrimSuffix(s.URL(), "/")+path, strings.NewReader(`{"id":1,"jsonrpc":"2.0","method":"stop"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Origin", "http://"+host)
		r.Header.Set("Content-Type", "application/json")
		resp, err := client.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for _, host := range []string{"evil.example", "evil.example:8010", "localhost.evil.example", "10.0.0.1:8010", "[2001:db8::1]:80", "127.0.0.1.evil.example"} {
		for _, what := range [][2]string{{"POST", "/builders/a/force"}, {"POST", "/api/v2/builds/7"}, {"GET", "/ws"}, {"DELETE", "/api/v2/builds/7"}} {
			if code, body := ask(what[0], what[1], host); code != http.StatusForbidden || !strings.Contains(body, "c['buildbotURL']") {
				t.Errorf("%s %s to %s: %d %s", what[0], what[1], host, code, body)
			}
		}
		if code, _ := ask("GET", "/builders", host); code != http.StatusOK {
			t.Errorf("a page of %s: %d", host, code)
		}
	}
	control.snap = config.New(config.Snapshot{Master: config.Master{BuildbotURL: "https://CI.example/sub/"}})
	for _, host := range []string{"localhost", "LocalHost:8010", "localhost.:1", "ci.localhost", "127.0.0.1:9", "127.1.2.3", "[::1]:8010", "[::1]", "ci.example", "ci.example:443"} {
		if code, body := ask("POST", "/builders/a/force", host); code != http.StatusOK {
			t.Errorf("POST of a page to %s: %d %s", host, code, body)
		}
		if code, body := ask("POST", "/api/v2/builds/7", host); code != http.StatusNotFound {
			t.Errorf("POST of REST to %s: %d %s", host, code, body)
		}
		if code, body := ask("GET", "/ws", host); code != http.StatusUpgradeRequired {
			t.Errorf("/ws of %s: %d %s", host, code, body)
		}
	}
}

// A server that others reach may go by any name: Origin decides there.
func TestHostsBeyondLoopback(t *testing.T) {
	s, _, _ := start(t, "0.0.0.0", Options{UI: http.HandlerFunc(hello)})
	r, err := http.NewRequest("POST", s.URL()+"builders/a/force", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "ci.example:8010"
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("got %s", resp.Status)
	}
}
