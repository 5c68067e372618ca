package conn

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// knock sends an upgrade request with this Authorization header (none if empty).
func knock(srv *Server, address, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "http://master:9989/", nil)
	r.RemoteAddr = address
	for key, value := range map[string]string{"Upgrade": "WebSocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Authorization": authorization} {
		if value != "" {
			r.Header.Set(key, value)
		}
	}
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	return w
}

func basic(credentials string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
}

// docs/requirements.md A1.8: a refusal is answered, and a line says who, why and from where.
func TestLogin(t *testing.T) {
	tests := []struct {
		name, header string
		status       int
		log          []string
	}{
		{"no header", "", 401, []string{"no name and password", "address=192.0.2.7"}},
		{"unknown name", basic("nobody:pa:ss"), 401, []string{"unknown worker", "worker=nobody", "address=192.0.2.7"}},
		{"wrong password", basic("w1:guess"), 401, []string{"wrong password", "worker=w1", "address=192.0.2.7"}},
		{"half of the password", basic("w1:pa"), 401, []string{"wrong password"}},
		{"no colon", basic("w1"), 400, []string{"NAME:PASSWORD"}},
		{"not base64", "Basic !!!", 400, []string{"base64"}},
		{"another scheme", "Bearer x", 400, []string{"Basic"}},
		// The recorder cannot be hijacked; that it comes to that is the proof.
		{"the right one, with a colon", basic("w1:pa:ss"), 500, nil},
		{"lower case", strings.Replace(basic("w1:pa:ss"), "Basic", "basic", 1), 500, nil},
	}
	for _, tt := range tests {
		srv, y := newYard(Options{})
		w := knock(srv, "192.0.2.7:5555", tt.header)
		if w.Code != tt.status {
			t.Errorf("%s: status %d, want %d", tt.name, w.Code, tt.status)
		}
		if got := w.Header().Get("WWW-Authenticate"); (tt.status == 401) != strings.HasPrefix(got, "Basic realm=") {
			t.Errorf("%s: WWW-Authenticate %q", tt.name, got)
		}
		for _, want := range tt.log {
			if !strings.Contains(y.log.String(), want) {
				t.Errorf("%s: no %q in the log:\n%s", tt.name, want, y.log)
			}
		}
		if strings.Contains(y.log.String(), "guess") || strings.Contains(y.log.String(), "pa:ss") {
			t.Errorf("%s: the log holds a password:\n%s", tt.name, y.log)
		}
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestLoginWithoutUpgrade(t *testing.T) {
	srv, _ := newYard(Options{})
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, httptest.NewRequest("GET", "http://master:9989/", nil))
	if w.Code != http.StatusUpgradeRequired {
		t.Errorf("status %d", w.Code)
	}
}

// docs/protocol.md 0.2 item 15: a refused worker comes back every two seconds for ever. Its
// refusals come later and are summed up in the log; a right password is not affected.
func TestRefusalsAreDelayedAndFolded(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		wrong := basic("w1:guess")
		var delays []time.Duration
		for range 10 {
			start := time.Now()
			if w := knock(srv, "192.0.2.7:1", wrong); w.Code != 401 {
				t.Errorf("status %d", w.Code)
			}
			delays = append(delays, time.Since(start))
		}
		if delays[0] != 0 || delays[2] != 0 || delays[3] == 0 || delays[9] != maxDelay {
			t.Errorf("delays %v", delays)
		}
		start := time.Now()
		if w := knock(srv, "192.0.2.7:1", basic("w1:pa:ss")); w.Code != 500 || time.Since(start) != 0 {
			t.Errorf("the right password: status %d after %v", w.Code, time.Since(start))
		}
		if w := knock(srv, "192.0.2.8:1", wrong); w.Code != 401 || time.Since(start) != 0 {
			t.Errorf("another address was delayed by %v", time.Since(start))
		}
		time.Sleep(2 * foldEvery)
		log := y.log.String()
		if n := strings.Count(log, "worker refused"); n != 2 {
			t.Errorf("%d lines, want one for each address:\n%s", n, log)
		}
		if !strings.Contains(log, "refusals=9 worker=w1 address=192.0.2.7") {
			t.Errorf("the rest was not summed up:\n%s", log)
		}
		time.Sleep(2 * forgetAfter)
		srv.refusals.mu.Lock()
		defer srv.refusals.mu.Unlock()
		if n := len(srv.refusals.pairs); n != 0 {
			t.Errorf("%d pairs are remembered", n)
		}
	})
}

// An attacker with many names and addresses costs bounded memory, log and waiting.
func TestRefusalsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		l := srv.refusals
		for i := range 3 * maxRefused {
			l.note(fmt.Sprint("10.0.", i/256, ".", i%256), strings.Repeat("n", 1000), "wrong password")
		}
		if n := len(l.pairs); n > maxRefused+1 {
			t.Errorf("%d pairs are remembered", n)
		}
		if n := y.log.buf.Len(); n > 1<<20 {
			t.Errorf("%d bytes of log", n)
		}
		delayed := 0
		for range 2 * maxDelayed {
			if l.enter() {
				delayed++
			}
		}
		if delayed != maxDelayed {
			t.Errorf("%d wait at one time", delayed)
		}
	})
}

// What is refused without a delay, headers that are nonsense and duplicates, takes none of
// the places of what waits: else 256 of them would end all delays, for ever.
func TestNonsenseTakesNoDelay(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		for range 2 * maxDelayed {
			if w := knock(srv, "192.0.2.7:1", "Basic %"); w.Code != 400 {
				t.Fatalf("status %d", w.Code)
			}
		}
		start := time.Now()
		for range freeRefusals + 1 {
			knock(srv, "192.0.2.8:1", basic("w1:guess"))
		}
		if time.Since(start) == 0 {
			t.Error("wrong passwords are no longer delayed")
		}
	})
}

// Shutdown does not wait for delayed refusals.
func TestRefusalEndsWithShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := newYard(Options{})
		for range freeRefusals {
			knock(srv, "192.0.2.7:1", basic("w1:guess"))
		}
		start := time.Now()
		done := make(chan int)
		go func() { done <- knock(srv, "192.0.2.7:1", basic("w1:guess")).Code }()
		synctest.Wait()
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if code := <-done; code != 401 || time.Since(start) != 0 {
			t.Errorf("status %d after %v", code, time.Since(start))
		}
		if code := knock(srv, "192.0.2.7:1", basic("w1:pa:ss")).Code; code != 503 {
			t.Errorf("status %d after Shutdown, want 503", code)
		}
	})
}
