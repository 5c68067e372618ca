package ui

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/state"
)

// Assets are small, and may be kept for ever since their names change with them
// (docs/ui.md 4.11).
func TestAssets(t *testing.T) {
	s, err := loadSite(builtin)
	if err != nil {
		t.Fatal(err)
	}
	js := len(s.files[s.manifest["app.js"]].gz)
	for name, limit := range map[string]int{"app.js": 25_000, "app.css": 10_000} {
		if n := len(s.files[s.manifest[name]].gz); n == 0 || n > limit {
			t.Errorf("%s has %d bytes compressed, want at most %d", name, n, limit)
		}
	}
	if n := js + len(s.files[s.manifest["log.js"]].gz); n > 40_000 {
		t.Errorf("the log page loads %d bytes of script, want at most 40,000", n)
	}
	h := newFixture(t).handler(t)
	path := "/static/" + s.manifest["app.js"]
	plain := get(t, h, path)
	packed := get(t, h, path, "Accept-Encoding", "br, gzip;q=0.5")
	if packed.Header().Get("Content-Encoding") != "gzip" || !strings.Contains(plain.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("headers %v and %v", plain.Header(), packed.Header())
	}
	r, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain.Body.Bytes()) {
		t.Errorf("the compressed script differs: %v", err)
	}
	if w := get(t, h, "/static/app.OLD.js"); w.Code != http.StatusNotFound {
		t.Errorf("an asset that is gone: %d", w.Code)
	}
	for status := range iconColours {
		if w := get(t, h, "/static/icon-"+status+".svg"); w.Code != 200 || w.Header().Get("Content-Type") != "image/svg+xml" {
			t.Errorf("icon of %s: %d", status, w.Code)
		}
	}
}

// A refresh that changes nothing costs no bytes; one that does is whole.
func TestRefreshUnchanged(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	first := get(t, h, "/builders", "X-Buildstar-Live", "1")
	tag := first.Header().Get("ETag")
	if tag == "" {
		t.Fatal("a refresh has no tag")
	}
	f.update(t, func(tx state.Tx) error { // an event that this page does not show
		s, err := state.One(tx.Schedulers(state.Where("name", "force")))
		s.Enabled = false
		if err == nil {
			_, err = tx.PutScheduler(s)
		}
		return err
	})
	if w := get(t, h, "/builders", "X-Buildstar-Live", "1", "If-None-Match", tag); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("unchanged: %d with %d bytes", w.Code, w.Body.Len())
	}
	f.addBuild(t, 1, state.Now(), config.Success)
	if w := get(t, h, "/builders", "X-Buildstar-Live", "1", "If-None-Match", tag); w.Code != 200 || w.Header().Get("ETag") == tag {
		t.Errorf("changed: %d", w.Code)
	}
	if w := get(t, h, "/builders", "If-None-Match", tag); w.Code != 200 {
		t.Errorf("a page that is loaded anew: %d", w.Code)
	}
}

// Ten thousand builders are fifty rows, and the filter finds among all.
func TestManyBuilders(t *testing.T) {
	f := newFixture(t)
	f.update(t, func(tx state.Tx) error {
		for i := range 10_000 {
			if _, err := tx.PutBuilder(state.Builder{Name: "b" + strconv.Itoa(i), Active: true, Tags: []string{"t" + strconv.Itoa(i%7)}}); err != nil {
				return err
			}
		}
		return nil
	})
	h := f.handler(t)
	var m buildersModel
	decode(t, get(t, h, "/builders?offset=9975", "Accept", "application/json"), &m)
	if m.Total != 10_000 || m.Offset != 9950 && m.Offset != 9975 || len(m.Rows) > pageRows || m.Prev == "" || m.Next != "" {
		t.Errorf("total %d, offset %d, %d rows, prev %q, next %q", m.Total, m.Offset, len(m.Rows), m.Prev, m.Next)
	}
	decode(t, get(t, h, "/builders?q=B999+t3", "Accept", "application/json"), &m)
	for _, r := range m.Rows {
		if !strings.Contains(r.Name, "999") || r.Tags[0] != "t3" {
			t.Errorf("found %s %v", r.Name, r.Tags)
		}
	}
	if m.Total == 0 || m.All != 10_000 {
		t.Errorf("found %d of %d", m.Total, m.All)
	}
}

func BenchmarkBuilders(b *testing.B) {
	f := newFixture(b)
	f.fill(b)
	h := f.handler(b)
	for b.Loop() {
		get(b, h, "/builders")
	}
}

func BenchmarkBuild(b *testing.B) {
	f := newFixture(b)
	f.fill(b)
	h := f.handler(b)
	for b.Loop() {
		get(b, h, "/builders/tests-flaky/4")
	}
}
