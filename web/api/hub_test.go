package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"buildstar/state"
)

// A client that does not read costs a bounded amount and holds nobody up; the
// server's goroutines are gone afterwards.
func TestSlowClientHoldsNobodyUp(t *testing.T) {
	m := newMaster(t)
	srv, a := serve(t, m, Options{})
	slow := dial(t, srv.URL, "")
	slow.consume("logs/*/*", 1)
	quick := dial(t, srv.URL, "")
	quick.consume("builds/*/*", 1)
	name := strings.Repeat("x", 10_000)
	for i := range 4000 { // 40 MB of different rows: more than sockets and queue hold
		m.store.Publish(state.Log{ID: int64(i), StepID: 4, Slug: "notes", Name: name}.Event("new"))
	}
	m.setState(t, "still live")
	quick.want("still live")
	for {
		if _, _, err := slow.conn.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, closeTryLater) {
				t.Errorf("slow client: %v, want close %d", err, closeTryLater)
			}
			break
		}
	}
	waitFor(t, func() bool {
		a.hub.mu.Lock()
		defer a.hub.mu.Unlock()
		return len(a.hub.sockets) == 1
	})
}

func TestCloseEndsStreams(t *testing.T) {
	m := newMaster(t)
	srv, a := serve(t, m, Options{})
	l := dial(t, srv.URL, "")
	l.consume("builds/*/*", 1)
	done := make(chan error)
	go func() {
		_, _, err := l.conn.ReadMessage()
		done <- err
	}()
	a.Close()
	if err := <-done; !websocket.IsCloseError(err, closeGoingAway) {
		t.Errorf("got %v, want close %d", err, closeGoingAway)
	}
	if _, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http")+"/ws", nil); err == nil || resp.StatusCode != 503 {
		t.Errorf("after close: %v", err)
	}
}

func TestOriginOfStream(t *testing.T) {
	srv, _ := serve(t, newMaster(t), Options{})
	host := strings.TrimPrefix(srv.URL, "http://")
	for origin, want := range map[string]int{
		"http://" + host: 101, "https://" + host: 101, "http://evil.example": 403, "null": 403, "http://" + strings.Split(host, ":")[0]: 403,
	} {
		conn, resp, err := websocket.DefaultDialer.Dial("ws://"+host+"/ws", http.Header{"Origin": {origin}})
		if resp == nil || resp.StatusCode != want {
			t.Errorf("Origin %s: %v, %v", origin, resp, err)
		}
		if conn != nil {
			conn.Close()
		}
	}
	if resp, _ := get(t, srv.URL+"/ws", nil); resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("plain GET: %d", resp.StatusCode)
	}
}

// slowBus is a store whose first subscription ends as too slow.
type slowBus struct {
	state.Store
	subs, resumes atomic.Int32
	lost          bool // what was missed is gone
}

func (b *slowBus) Subscribe(ctx context.Context, p ...state.Pattern) *state.Subscription {
	if b.subs.Add(1) > 1 {
		return b.Store.Subscribe(ctx, p...)
	}
	short, cancel := context.WithCancel(ctx)
	sub := b.Store.Subscribe(short, p...)
	c := make(chan state.Event)
	go func() {
		defer close(c)
		defer cancel()
		if ev, ok := <-sub.C; ok {
			c <- ev
		}
	}()
	return &state.Subscription{C: c, Start: sub.Start, Err: func() error { return state.ErrSlow }}
}

func (b *slowBus) Resume(ctx context.Context, at state.Position, p ...state.Pattern) (*state.Subscription, bool) {
	b.resumes.Add(1)
	if b.lost {
		return nil, false
	}
	return b.Store.Resume(ctx, at, p...)
}

// When the hub itself was too slow it goes on where it was, or tells everyone to
// read again.
func TestHubRecovers(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("lost=%v", lost), func(t *testing.T) {
			m := newMaster(t)
			bus := &slowBus{Store: m.store, lost: lost}
			m.store = bus
			srv, a := serve(t, m, Options{})
			l := dial(t, srv.URL, "?buildstar=1&path=buildrequests/*/*")
			l.want(`{"hello":{`)
			stock := dial(t, srv.URL, "")
			stock.consume("buildrequests/*/*", 1)
			add := func() {
				m.update(t, func(tx state.Tx) {
					_, _, err := tx.AddBuildset(state.Buildset{Results: -1, SourceStamps: []state.SourceStamp{{ID: 1}}}, []state.BuildRequest{{BuilderID: 1, Results: -1}})
					ok(err)
				})
			}
			add()
			waitFor(t, func() bool { return bus.resumes.Load() == 1 })
			if !lost {
				add()
				l.want(`"k":"buildrequests/4/new"`, `"k":"buildrequests/5/new"`)
				stock.want(`"k":"buildrequests/4/new"`, `"k":"buildrequests/5/new"`)
				return
			}
			for !strings.Contains(l.next(), `{"resync":true}`) {
			}
			waitFor(t, func() bool {
				a.hub.mu.Lock()
				defer a.hub.mu.Unlock()
				return len(a.hub.sockets) == 1
			})
			add()
			l.want(`"k":"buildrequests/5/new"`)
		})
	}
}

func FuzzMessage(f *testing.F) {
	for _, seed := range []string{`{"cmd":"startConsuming","path":"builds/*/*","_id":1}`, `{"cmd":"stopConsuming","path":"builds/*/*","_id":"a"}`, `{"_id":1e999}`, `[`, `{"cmd":{},"_id":1}`} {
		f.Add(seed)
	}
	_, a := serve(f, newMaster(f), Options{})
	f.Fuzz(func(t *testing.T, message string) {
		s := &socket{hub: a.hub, out: newOutbox(false), patterns: map[string]bool{}}
		if !a.hub.join(s) {
			t.Fatal("no room")
		}
		defer a.hub.leave(s)
		s.handle([]byte(message))
		fr, _, ok, _, _, _ := s.out.next(time.Now())
		if !ok || !json.Valid(fr.json) || !strings.Contains(string(fr.json), `"code":`) {
			t.Errorf("%q: answered %q", message, fr.json)
		}
	})
}
