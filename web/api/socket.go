package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"buildstar/state"
)

const (
	maxMessage    = 64 << 10 // bytes of a message from a client
	maxPatterns   = 2000     // of one socket
	maxPattern    = 512      // bytes
	maxWords      = 10       // of a pattern
	pingEvery     = 20 * time.Second
	silentAfter   = 65 * time.Second // without a pong or a message
	sendTimeout   = 10 * time.Second
	resumeTimeout = 10 * time.Second // for a client that came back to name its patterns
)

// socket is one client of /ws. The goroutine of its request reads, another writes.
//
// A client that connects with ?buildstar=1 is one of ours: it first gets
// {"hello":{"epoch","seq","version"}}; events carry "s", the position that is safe
// to resume from; {"resync":true} asks it to read state again; and {"s":N} comes
// now and then. With ?resume=EPOCH.SEQ it gets what it missed since; it should name
// its patterns at once, as ?path=..., so that the events come in order.
type socket struct {
	hub  *hub
	conn *websocket.Conn
	ours bool
	out  *outbox

	// Owned by the hub, under its lock.
	patterns map[string]bool
	newest   uint64              // seq of the newest event queued
	from     uint64              // where a client that came back left off
	until    time.Time           // when it must have named its patterns
	sent     map[uint64]struct{} // events queued since it came back; nil: it did not
}

func (s *socket) startResume(from uint64) {
	s.from, s.until, s.sent = from, time.Now().Add(resumeTimeout), map[uint64]struct{}{}
}

// resuming reports whether new patterns still get what was missed of them.
func (s *socket) resuming() bool {
	if s.sent != nil && time.Now().After(s.until) {
		s.sent = nil
	}
	return s.sent != nil
}

var upgrader = websocket.Upgrader{
	HandshakeTimeout: 10 * time.Second,
	ReadBufferSize:   1024,
	WriteBufferSize:  2048,
	CheckOrigin:      func(*http.Request) bool { return true }, // checkOrigin has
}

// listen serves /ws.
func (a *API) listen(w http.ResponseWriter, r *http.Request) {
	if err := checkOrigin(r); err != nil {
		a.fail(w, r, err)
		return
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		a.fail(w, r, badf("query: %v", err))
		return
	}
	resume, err := parsePosition(q.Get("resume"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	paths := q["path"]
	for _, p := range paths {
		if err := checkPattern(p); err != nil || len(paths) > maxPatterns {
			a.fail(w, r, badf("path %q: not a pattern", clip(p)))
			return
		}
	}
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		http.Error(w, `{"error":"this is a websocket"}`, http.StatusUpgradeRequired)
		return
	}
	s := &socket{hub: a.hub, ours: q.Has("buildstar") || resume != nil, patterns: map[string]bool{}}
	s.out = newOutbox(s.ours)
	if !a.hub.join(s) {
		http.Error(w, `{"error":"too many event streams, or the master stops"}`, http.StatusServiceUnavailable)
		return
	}
	defer a.hub.leave(s)
	if s.conn, err = upgrader.Upgrade(w, r, nil); err != nil {
		return // Upgrade has answered
	}
	a.hub.greet(s, resume, paths)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.write()
	}()
	s.read()
	s.out.end(closeGoingAway, "")
	<-done
}

// parsePosition reads EPOCH.SEQ.
func parsePosition(v string) (*state.Position, error) {
	if v == "" {
		return nil, nil
	}
	e, q, _ := strings.Cut(v, ".")
	epoch, err1 := strconv.ParseInt(e, 10, 64)
	seq, err2 := strconv.ParseUint(q, 10, 64)
	if err1 != nil || err2 != nil {
		return nil, badf("resume: want EPOCH.SEQ as an event or hello said, got %q", clip(v))
	}
	return &state.Position{Epoch: epoch, Seq: seq}, nil
}

// checkPattern reports what is wrong with a pattern of keys.
func checkPattern(p string) error {
	words := strings.Split(p, "/")
	if len(p) > maxPattern || len(words) < 2 || len(words) > maxWords {
		return errors.New("want 2 to 10 words with slashes between them, like builds/*/*")
	}
	for _, w := range words {
		if w == "" || w != "*" && strings.Contains(w, "*") {
			return errors.New(`a word is a name or "*"`)
		}
	}
	return nil
}

// request is a message from a client.
type request struct {
	Cmd  *string         `json:"cmd"`
	Path *string         `json:"path"`
	ID   json.RawMessage `json:"_id"`
}

// read carries out what the client asks for until it is gone.
func (s *socket) read() {
	s.conn.SetReadLimit(maxMessage)
	alive := func() { s.conn.SetReadDeadline(time.Now().Add(silentAfter)) }
	alive()
	s.conn.SetPongHandler(func(string) error { alive(); return nil })
	for {
		_, data, err := s.conn.ReadMessage()
		if err != nil {
			return
		}
		alive()
		s.handle(data)
	}
}

// handle carries out one request. Every one is answered.
func (s *socket) handle(data []byte) {
	var r request
	if err := json.Unmarshal(data, &r); err != nil {
		s.refuse(nil, http.StatusBadRequest, "not a JSON object of cmd, path and _id")
		return
	}
	if !validID(r.ID) {
		s.refuse(nil, http.StatusBadRequest, "_id must be a number or a string")
		return
	}
	if r.Cmd == nil {
		s.refuse(r.ID, http.StatusBadRequest, "cmd is missing")
		return
	}
	switch *r.Cmd {
	case "ping":
		s.out.control(ackFrame("pong", r.ID))
		return
	case "startConsuming", "stopConsuming":
	default:
		s.refuse(r.ID, http.StatusNotFound, fmt.Sprintf("there is no cmd %q%s", clip(*r.Cmd),
			suggest(*r.Cmd, []string{"ping", "startConsuming", "stopConsuming"})))
		return
	}
	if r.Path == nil {
		s.refuse(r.ID, http.StatusBadRequest, "path is missing")
		return
	}
	if err := checkPattern(*r.Path); err != nil {
		s.refuse(r.ID, http.StatusBadRequest, "path: "+err.Error())
		return
	}
	if *r.Cmd == "stopConsuming" {
		if !s.hub.forget(s, *r.Path) {
			s.refuse(r.ID, http.StatusBadRequest, "path was not consumed")
			return
		}
		s.out.control(ackFrame("OK", r.ID))
		return
	}
	if !s.hub.consume(s, *r.Path, ackFrame("OK", r.ID)) {
		s.refuse(r.ID, http.StatusBadRequest, fmt.Sprintf("at most %d paths at once", maxPatterns))
	}
}

// validID reports whether an _id is a short number or string, which can be echoed.
func validID(id json.RawMessage) bool {
	return len(id) > 0 && len(id) <= 128 && (id[0] == '"' || id[0] == '-' || id[0] >= '0' && id[0] <= '9')
}

func (s *socket) refuse(id json.RawMessage, code int, text string) {
	if id == nil {
		id = json.RawMessage("null")
	}
	b := state.AppendString([]byte(`{"error":`), text)
	b = append(append(b, `,"code":`...), strconv.Itoa(code)...)
	b = append(append(b, `,"_id":`...), id...)
	s.out.control(append(b, '}'))
}

func ackFrame(msg string, id json.RawMessage) []byte {
	b := append(append([]byte(`{"msg":"`), msg...), `","code":200,"_id":`...)
	return append(append(b, id...), '}')
}

var resyncFrame = []byte(`{"resync":true}`)

func helloFrame(at state.Position, version string) []byte {
	b := strconv.AppendInt([]byte(`{"hello":{"epoch":`), at.Epoch, 10)
	b = strconv.AppendUint(append(b, `,"seq":`...), at.Seq, 10)
	b = state.AppendString(append(b, `,"version":`...), version)
	return append(b, "}}"...)
}

// write sends what the outbox holds until the socket is closed.
func (s *socket) write() {
	defer s.conn.Close()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	var buf []byte
	for {
		f, safe, ok, wait, code, reason := s.out.next(time.Now())
		if code != 0 {
			s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
			return
		}
		if ok {
			buf = s.appendFrame(buf[:0], f, safe)
			if s.send(buf) != nil {
				return
			}
			continue
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-s.out.wake:
		case <-due:
		case <-ping.C:
			if s.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(sendTimeout)) != nil {
				return
			}
			at := s.hub.position() // everything up to it was queued
			if s.ours && s.out.idle() {
				buf = append(strconv.AppendUint(append(buf[:0], `{"s":`...), at.Seq, 10), '}')
				if s.send(buf) != nil {
					return
				}
			}
		}
	}
}

func (s *socket) send(b []byte) error {
	s.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	return s.conn.WriteMessage(websocket.TextMessage, b)
}

// appendFrame appends the text of a frame: {"k":"builds/1/new","m":{...}}.
func (s *socket) appendFrame(dst []byte, f frame, safe uint64) []byte {
	if f.seq == 0 {
		return append(dst, f.json...)
	}
	dst = state.AppendString(append(dst, `{"k":`...), f.key)
	dst = append(append(dst, `,"m":`...), f.json...)
	if s.ours {
		dst = strconv.AppendUint(append(dst, `,"s":`...), safe, 10)
	}
	return append(dst, '}')
}
