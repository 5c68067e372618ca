package conn

import (
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

var (
	errNoCredentials  = errors.New("no name and password were sent")
	errBadCredentials = errors.New("the Authorization header is not Basic with base64 of NAME:PASSWORD")
)

// ServeHTTP lets a worker in: HTTP Basic authentication, then the upgrade to a
// WebSocket. It returns as soon as the session has its own goroutines, because the one
// of an HTTP handler holds far more memory (docs/protocol.md A.1).
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "this is the port that workers connect to, by WebSocket", http.StatusUpgradeRequired)
		return
	}
	name, password, err := credentials(r.Header.Get("Authorization"))
	if errors.Is(err, errBadCredentials) {
		srv.refusals.note(host(r.RemoteAddr), "", err.Error())
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err == nil {
		err = srv.host.Login(name, password)
	}
	if err != nil {
		srv.refuse(w, r, name, err)
		return
	}
	select {
	case <-srv.stopping:
		http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
		return
	default:
	}
	t, err := upgrade(w, r, srv.wg.Go)
	if err != nil {
		srv.log.Warn("worker connection failed", "worker", name, "address", r.RemoteAddr, "err", err)
		return
	}
	if _, err := srv.accept(t, name, t.conn.RemoteAddr()); err != nil {
		t.Close(err.Error())
	}
}

// credentials takes an Authorization header apart. The password may contain a colon,
// the name cannot (docs/protocol.md 0.2 item 24).
func credentials(header string) (name, password string, err error) {
	if header == "" {
		return "", "", errNoCredentials
	}
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "basic") {
		return "", "", errBadCredentials
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	if err != nil {
		return "", "", errBadCredentials
	}
	name, password, ok := strings.Cut(string(b), ":")
	if !ok {
		return "", "", errBadCredentials
	}
	return name, password, nil
}

// refuse answers 401, later and later for who keeps trying: a stock worker would try
// every two seconds for ever (docs/protocol.md 0.2 item 15, docs/requirements.md A1.8).
func (srv *Server) refuse(w http.ResponseWriter, r *http.Request, name string, why error) {
	delay := srv.refusals.note(host(r.RemoteAddr), name, why.Error())
	if delay > 0 && srv.refusals.enter() {
		defer srv.refusals.leave()
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		case <-srv.stopping:
		}
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="workers", charset="UTF-8"`)
	http.Error(w, "unknown worker or wrong password", http.StatusUnauthorized)
}

func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}
