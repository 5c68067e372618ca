package web

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// A page of another site can give its own name a loopback address (DNS rebinding):
// the browser then holds its requests to this master for requests to itself, so
// Origin and Host agree. What it cannot choose is a Host that is ours.

// hosts refuses what changes something, and event streams, if they were sent to a
// name that is not this master's. It stands before an address on loopback only: who
// is reached from elsewhere may go by any name.
func (s *Server) hosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		read := (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.URL.Path != "/ws"
		if read || s.isOurs(r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		refuseHost(w, r)
	})
}

// isOurs reports whether a Host header names this master: a loopback name or
// address, or the host of c['buildbotURL']. Ports do not count: a tunnel or a proxy
// may have its own.
func (s *Server) isOurs(hostport string) bool {
	host := hostOf(hostport)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return true
	}
	u, err := url.Parse(s.control.Snapshot().Master.BuildbotURL)
	return err == nil && host != "" && host == hostOf(u.Host)
}

// hostOf takes the port off and brings a name into one form.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// refuseHost says why, in the form that the path answers with.
func refuseHost(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if len(host) > 100 {
		host = host[:100] + "..."
	}
	text := fmt.Sprintf("forbidden: the request was sent to host %q, which is not this master's. It listens on loopback only "+
		"and goes by localhost, a loopback address, or the host of c['buildbotURL']: set that to the address people use", host)
	var body []byte
	switch {
	case strings.HasPrefix(r.URL.Path, "/api/"):
		body, _ = json.Marshal(map[string]any{"jsonrpc": "2.0", "id": nil, "error": map[string]any{"code": -32600, "message": text}})
	case r.URL.Path == "/ws":
		body, _ = json.Marshal(map[string]string{"error": text})
	default:
		http.Error(w, text, http.StatusForbidden)
		return
	}
	h := w.Header()
	h["Content-Type"] = []string{"application/json; charset=utf-8"}
	h["X-Content-Type-Options"] = nosniff
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusForbidden)
	w.Write(append(body, '\n'))
}
