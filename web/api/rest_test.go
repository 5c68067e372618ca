package api

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"buildstar/engine/sched"
	"buildstar/state"
)

// Every request of testdata/rest.txtar is answered as it says (docs/requirements.md C10,
// docs/ui-contract.md section 2).
func TestGolden(t *testing.T) {
	const file = "testdata/rest.txtar"
	srv, _ := serve(t, newMaster(t), Options{})
	golden, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range golden.Files {
		resp, body := get(t, srv.URL+f.Name, asJSON)
		var out strings.Builder
		fmt.Fprintf(&out, "%d %s\n", resp.StatusCode, resp.Header.Get("Content-Type"))
		if d := resp.Header.Get("Content-Disposition"); d != "" {
			fmt.Fprintln(&out, d)
		}
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") && !json.Valid([]byte(body)) {
			t.Errorf("%s: not JSON: %s", f.Name, body)
		}
		out.WriteString(strings.ReplaceAll(strings.ToValidUTF8(body, "?"), "},{", "},\n{"))
		if !strings.HasSuffix(out.String(), "\n") {
			out.WriteByte('\n')
		}
		if *update {
			golden.Files[i].Data = []byte(out.String())
		} else if diff := cmp.Diff(string(f.Data), out.String()); diff != "" {
			t.Errorf("%s: -want +got\n%s", f.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(golden), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// The declared columns are the members of the rows' JSON, so that every field can
// be selected and application.spec tells the truth.
func TestColumnsAreMembers(t *testing.T) {
	w := &world{topology: &topology{snap: newMaster(t).snap}}
	check(t, masters, w)
	check(t, builders, w)
	check(t, projects, w)
	check(t, workers, w)
	check(t, schedulers, w)
	check(t, changeSources, w)
	check(t, changes, w)
	check(t, sourceStamps, w)
	check(t, buildsets, w)
	check(t, requests, w)
	check(t, builds, w)
	check(t, steps, w)
	check(t, logRows, w)
	check(t, forms, w)
}

func check[T any](t *testing.T, res *resource[T], w *world) {
	t.Helper()
	var row T
	object := res.append(nil, &row, w)
	var names []string
	for name := range members(object) {
		names = append(names, name)
	}
	slices.Sort(names)
	want := slices.Sorted(slices.Values(res.names()))
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("%s: columns and members differ: -columns +members\n%s", res.plural, diff)
	}
	picked := res.appendPicked(nil, &row, w, res.names())
	var a, b any
	if json.Unmarshal(object, &a) != nil || json.Unmarshal(picked, &b) != nil || !cmp.Equal(a, b) {
		t.Errorf("%s: picking every field gives %s, want the members of %s", res.plural, picked, object)
	}
}

func TestMembers(t *testing.T) {
	got := members([]byte(`{"a":"x\"},{\\","b":{"c":[1,{"d":"]"}]},"e":null,"f":[]}`))
	want := map[string]string{"a": `"x\"},{\\"`, "b": `{"c":[1,{"d":"]"}]}`, "e": "null", "f": "[]"}
	for k, v := range want {
		if string(got[k]) != v {
			t.Errorf("%s: got %s, want %s", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %q", got)
	}
}

// People get indented text, programs compact JSON, and both compressed if they can.
func TestForms(t *testing.T) {
	srv, _ := serve(t, newMaster(t), Options{})
	for range 2 { // rendered, then from the cache
		resp, body := get(t, srv.URL+"/api/v2/builders/1", nil)
		if ct := resp.Header.Get("Content-Type"); ct != "text/plain; charset=utf-8" || !strings.Contains(body, "\n  \"builders\": [") {
			t.Errorf("plain: %s: %s", ct, body)
		}
		resp, body = get(t, srv.URL+"/api/v2/builds?property=*", map[string]string{"Accept": "application/json", "Accept-Encoding": "br, gzip"})
		if strings.HasPrefix(body, "{") != (resp.Header.Get("Content-Encoding") == "") {
			t.Errorf("encoding %q of %q", resp.Header.Get("Content-Encoding"), body)
		}
		_, plain := get(t, srv.URL+"/api/v2/application.spec", asJSON)
		resp, body = get(t, srv.URL+"/api/v2/application.spec", map[string]string{"Accept": "application/json", "Accept-Encoding": "gzip;q=0.5"})
		if resp.Header.Get("Content-Encoding") != "gzip" || resp.Header.Get("Vary") != "Accept, Accept-Encoding" {
			t.Errorf("headers: %v", resp.Header)
		}
		z, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		unzipped, err := io.ReadAll(z)
		if err != nil || string(unzipped) != plain {
			t.Errorf("unzipped: %v, %d bytes, want %d", err, len(unzipped), len(plain))
		}
	}
	for header, want := range map[string]bool{"": false, "gzip": true, "gzip;q=0": false, "gzip;q=0.000": false, "deflate, *": true, "br": false, "gzip; q=1.0": true} {
		if acceptsGzip(header) != want {
			t.Errorf("Accept-Encoding %q: gzip = %v", header, !want)
		}
	}
}

// What is kept rendered is never shown after it changed.
func TestCacheIsNeverStale(t *testing.T) {
	m := newMaster(t)
	srv, _ := serve(t, m, Options{})
	for i := range 20 {
		name := fmt.Sprintf("state %d", i)
		m.update(t, func(tx state.Tx) {
			b := got(state.One(tx.Builds(state.Where("buildid", int64(2)))))
			b.StateString = name
			ok(tx.PutBuild(b, "update"))
		})
		for range 2 {
			if _, body := get(t, srv.URL+"/api/v2/builds/2", asJSON); !strings.Contains(body, name) {
				t.Fatalf("after %q: %s", name, body)
			}
		}
	}
	if _, body := get(t, srv.URL+"/api/v2/logs/3", asJSON); !strings.Contains(body, `"num_lines":2`) {
		t.Errorf("log: %s", body)
	}
	m.logs.add(3, state.LogRun{Stream: 't', Text: []byte("three\n")})
	m.store.Publish(state.Log{ID: 3, StepID: 4, Slug: "notes", NumLines: 3}.Event("append"))
	if _, body := get(t, srv.URL+"/api/v2/logs/3", asJSON); !strings.Contains(body, `"num_lines":3`) {
		t.Errorf("log that grew: %s", body)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache()
	for i := range 3000 {
		c.put(cacheKey{uri: fmt.Sprint(i)}, &cached{rendered: rendered{body: make([]byte, 64<<10)}})
	}
	c.put(cacheKey{uri: "huge"}, &cached{rendered: rendered{body: make([]byte, maxCachedBody+1)}})
	sum := int64(0)
	for _, k := range c.entries.Keys() {
		e, _ := c.entries.Peek(k)
		sum += size(k, e)
	}
	if sum != c.bytes.Load() || sum > maxCachedBytes || sum < maxCachedBytes/2 {
		t.Errorf("holds %d bytes, counts %d, may hold %d", sum, c.bytes.Load(), maxCachedBytes)
	}
	if _, ok := c.entries.Peek(cacheKey{uri: "huge"}); ok {
		t.Error("keeps what is too large")
	}
}

// More rows than may be held are written in pieces: all, once, in order; another
// order needs a limit.
func TestManyRows(t *testing.T) {
	m := newMaster(t)
	const atOnce, n = 100, 127
	m.update(t, func(tx state.Tx) {
		for i := range n - 3 {
			got(tx.PutBuilder(state.Builder{Name: fmt.Sprintf("b%d", i), Active: i%2 == 0}))
		}
	})
	srv, a := serve(t, m, Options{})
	a.atOnce, a.piece = atOnce, 10
	ids := func(query string) (ids []int64, total int64) {
		t.Helper()
		_, body := get(t, srv.URL+"/api/v2/builders?"+query, asJSON)
		var out struct {
			Builders []struct{ Builderid int64 }
			Meta     struct{ Total int64 }
		}
		if err := json.Unmarshal([]byte(body), &out); err != nil {
			t.Fatalf("%s: %v in %.200s", query, err, body)
		}
		for _, b := range out.Builders {
			ids = append(ids, b.Builderid)
		}
		return ids, out.Meta.Total
	}
	all, total := ids("field=builderid")
	if len(all) != n || total != n || !slices.IsSorted(all) || all[n-1] != n {
		t.Errorf("all: %d rows, total %d", len(all), total)
	}
	down, total := ids(fmt.Sprintf("order=-builderid&offset=5&limit=%d", atOnce+1))
	if len(down) != atOnce+1 || total != n || down[0] != n-5 || down[atOnce] != n-5-atOnce {
		t.Errorf("down: %d rows from %d, total %d", len(down), down[0], total)
	}
	if some, total := ids("masterids__contains=1&limit=101&field=builderid&field=masterids"); len(some) != 64 || total != 64 || !slices.IsSorted(some) {
		t.Errorf("filtered: %d rows, total %d", len(some), total)
	}
	if few, total := ids("order=name&limit=3"); len(few) != 3 || total != n {
		t.Errorf("page: %d rows, total %d", len(few), total)
	}
	if none, total := ids("limit=0"); len(none) != 0 || total != n {
		t.Errorf("limit 0: %d rows, total %d", len(none), total)
	}
	if none, total := ids("offset=99999999999&limit=9223372036854775807"); len(none) != 0 || total != n {
		t.Errorf("beyond the end: %d rows, total %d", len(none), total)
	}
	if resp, body := get(t, srv.URL+"/api/v2/builders?order=name", asJSON); resp.StatusCode != 400 || !strings.Contains(body, "limit") {
		t.Errorf("all by name: %d %.200s", resp.StatusCode, body)
	}
}

// A log is written as it is read, with channels only where Buildbot has them.
func TestLongLog(t *testing.T) {
	m := newMaster(t)
	line := strings.Repeat("x", 300_000) + "\n"
	for range 20 {
		m.logs.add(3, state.LogRun{Stream: 't', Text: []byte(line)})
	}
	srv, _ := serve(t, m, Options{})
	_, raw := get(t, srv.URL+"/api/v2/logs/3/raw_inline", map[string]string{"Accept-Encoding": "identity"})
	if want := "one\ntwo\n" + strings.Repeat(line, 20); raw != want {
		t.Errorf("raw: %d bytes, want %d", len(raw), len(want))
	}
	var out struct {
		Logchunks []struct{ Content string }
	}
	_, body := get(t, srv.URL+"/api/v2/logs/3/contents?offset=2&limit=3", asJSON)
	if err := json.Unmarshal([]byte(body), &out); err != nil || out.Logchunks[0].Content != strings.Repeat(line, 3) {
		t.Errorf("contents: %v, %d bytes", err, len(body))
	}
	var lines struct {
		Lines []struct {
			Number, Length int64
			Text           string
		}
		Meta struct{ Total int64 }
	}
	_, body = get(t, srv.URL+"/api/v2/logs/3/lines", asJSON)
	if err := json.Unmarshal([]byte(body), &lines); err != nil || len(lines.Lines) < 3 || len(lines.Lines) > 20 || lines.Meta.Total != 22 {
		t.Errorf("lines: %v, %d of %d", err, len(lines.Lines), lines.Meta.Total)
	}
	_, body = get(t, srv.URL+"/api/v2/logs/3/lines?from=1&cut=5", asJSON)
	if err := json.Unmarshal([]byte(body), &lines); err != nil || len(lines.Lines) != 21 || lines.Lines[1].Text != "xxxxx" || lines.Lines[1].Length != 300_000 {
		t.Errorf("cut lines: %v, %d: %.200s", err, len(lines.Lines), body)
	}
}

// No query crashes or is answered with an internal error, and what is not
// understood is refused, not ignored (D2.13, D2.14).
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"field=buildid&order=-number&limit=5", "results__eq=0&results__eq=2", "complete=off&builderid__ge=1", "started_at__gt=1",
		"name__contains=a&field=name", "limit=-1", "limit=99999999999999999999", "%zz", "a;b", "order=", "field=", "x__y__z=1", "property=*&property=a",
		"results=null", "masterids__contains=1", "tags__contains=c&tags__ne=x", "offset=1&limit=9223372036854775807", "enabled=maybe",
	} {
		f.Add(seed)
	}
	srv, a := serve(f, newMaster(f), Options{})
	_ = srv
	f.Fuzz(func(t *testing.T, raw string) {
		for _, path := range []string{"builds", "builders", "forceschedulers", "buildrequests/1", "builds/1/steps", "logs/1/contents", "logs/1/lines"} {
			u := &url.URL{Path: "/api/v2/" + path, RawQuery: raw}
			r, err := http.NewRequest("GET", "http://x/", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.URL, r.RequestURI = u, u.RequestURI()
			w := &discard{header: http.Header{}}
			a.ServeHTTP(w, r)
			if w.status != 0 && w.status != 200 && w.status != 400 {
				t.Errorf("%s?%s: %d", path, raw, w.status)
			}
		}
	})
}

// discard is a ResponseWriter that keeps the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

func TestForceSchedulersFollowTheSwitch(t *testing.T) {
	m := newMaster(t)
	srv, _ := serve(t, m, Options{})
	enabled := func() (on []bool) {
		var out struct{ Forceschedulers []sched.Form }
		_, body := get(t, srv.URL+"/api/v2/builders/lint/forceschedulers?order=-name", asJSON)
		if err := json.Unmarshal([]byte(body), &out); err != nil {
			t.Fatal(err)
		}
		for _, f := range out.Forceschedulers {
			on = append(on, f.Enabled)
		}
		return on
	}
	if got := enabled(); !slices.Equal(got, []bool{false, true}) {
		t.Errorf("only-lint, force: %v", got)
	}
	m.update(t, func(tx state.Tx) {
		got(tx.PutScheduler(state.Scheduler{Name: "only-lint", Enabled: true, Active: true}))
	})
	if got := enabled(); !slices.Equal(got, []bool{true, true}) {
		t.Errorf("after the switch: %v", got)
	}
}
