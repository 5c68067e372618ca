package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"testing"

	"buildstar/state"
)

// Without net/http and a client, which come on top.

func benchMaster(b *testing.B) *API {
	m := newMaster(b)
	m.update(b, func(tx state.Tx) {
		for i := range 97 {
			got(tx.PutBuilder(state.Builder{Name: fmt.Sprintf("builder-%d", i), Tags: []string{"linux", "amd64"}, Active: true}))
		}
		for i := range 200 {
			_, reqs, err := tx.AddBuildset(state.Buildset{Reason: "bench", Results: -1, SubmittedAt: t0}, []state.BuildRequest{{BuilderID: int64(i%90 + 1), Results: -1, SubmittedAt: t0}})
			ok(err)
			got(tx.AddBuild(state.Build{BuilderID: int64(i%90 + 1), RequestID: reqs[0], WorkerID: 1, StartedAt: t0, StateString: "building the whole thing", Results: -1}))
		}
	})
	a := New(m, Options{Log: slog.New(slog.DiscardHandler)})
	b.Cleanup(a.Close)
	return a
}

func benchGet(b *testing.B, path string, header map[string]string, each func(a *API)) {
	a := benchMaster(b)
	r, err := http.NewRequest("GET", "http://x/api/v2/"+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	r.RequestURI = r.URL.RequestURI()
	r.Header.Set("Accept", "application/json")
	for k, v := range header {
		r.Header.Set(k, v)
	}
	b.ReportAllocs()
	for b.Loop() {
		if each != nil {
			each(a)
		}
		w := &discard{header: http.Header{}}
		a.ServeHTTP(w, r)
		if w.status != 0 {
			b.Fatal(w.status)
		}
	}
}

func forget(a *API) { a.cache.entries.Purge() }

func BenchmarkBuilders100Cached(b *testing.B) { benchGet(b, "builders", nil, nil) }

func BenchmarkBuilders100CachedGzip(b *testing.B) {
	benchGet(b, "builders", map[string]string{"Accept-Encoding": "gzip"}, nil)
}

func BenchmarkBuilders100Rendered(b *testing.B) { benchGet(b, "builders", nil, forget) }

func BenchmarkBuilds50Rendered(b *testing.B) {
	benchGet(b, "builds?limit=50&order=-buildid", nil, forget)
}

func BenchmarkBuilds50Picked(b *testing.B) {
	benchGet(b, "builds?limit=50&order=-buildid&field=buildid&field=results", nil, forget)
}

// One event for 500 sockets of which ten want it.
func BenchmarkDeliver500Sockets(b *testing.B) {
	a := benchMaster(b)
	for i := range 500 {
		s := &socket{hub: a.hub, out: newOutbox(true), ours: true, patterns: map[string]bool{}}
		if !a.hub.join(s) {
			b.Fatal("no room")
		}
		defer a.hub.leave(s)
		a.hub.consume(s, fmt.Sprintf("builds/%d/*", i/10), []byte("{}"))
		a.hub.consume(s, fmt.Sprintf("builds/%d/steps/*/*", i/10), []byte("{}"))
	}
	ev := state.Build{ID: 7, BuilderID: 3, WorkerID: 1, RequestID: 9, StateString: "building"}.Event("update")
	b.ReportAllocs()
	for b.Loop() {
		ev.Seq++
		a.hub.deliver(ev)
	}
}
