package openstack

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gophercloud/gophercloud/v2"

	"buildstar/latent"
)

// An answer is what a real control plane said.
type answer struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body,omitempty"`
}

var answersFile = filepath.Join("testdata", "answers.json")

func readAnswers(t *testing.T) map[string]answer {
	t.Helper()
	data, err := os.ReadFile(answersFile)
	if err != nil {
		t.Fatal(err)
	}
	var a map[string]answer
	if err := json.Unmarshal(data, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// recorder keeps the last answer to each kind of request.
type recorder struct {
	mu   sync.Mutex
	last map[string]answer
}

// kindOf names a request without what differs from run to run.
func kindOf(r *http.Request) string {
	part := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	for i, p := range part {
		if len(p) >= 32 { // an id
			part[i] = "ID"
		}
	}
	if r.URL.Path == "" || r.URL.Path == "/" {
		return r.Method + " //" + r.URL.Host
	}
	return r.Method + " " + strings.Join(part, "/")
}

// details are where in Nova something failed.
var details = regexp.MustCompile("\"details\": \"([^\"\\\\]|\\\\.)*\"")

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(body))
	r.mu.Lock()
	defer r.mu.Unlock()
	a := answer{Status: res.StatusCode}
	if json.Valid(body) {
		a.Body = details.ReplaceAll(body, []byte(`"details": "a traceback"`))
	}
	r.last[kindOf(req)] = a
	return res, err
}

func (r *recorder) get(t *testing.T, kind string) answer {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := r.last[kind]
	if !ok {
		t.Fatalf("no %q was asked, but %v", kind, slices.Sorted(maps.Keys(r.last)))
	}
	return a
}

var record = flag.Bool("record", false, "write the answers of the real control plane to testdata/answers.json")

// The answers that the other tests are made of are those of a real control plane: each still
// has the status and the fields that were recorded.
func TestAnswersAreReal(t *testing.T) {
	r, cloud := newReal(t, fmt.Sprintf("image=%q, networks=[%q]", testImage, testNetwork))
	got := askReal(t, r, cloud)
	if *record {
		data, err := json.MarshalIndent(got, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(answersFile, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, was := range readAnswers(t) {
		is := got[name]
		if is.Status != was.Status || shape(t, is.Body) != shape(t, was.Body) {
			t.Errorf("%s: %d %s\nwas recorded as %d %s", name, is.Status, is.Body, was.Status, was.Body)
		}
	}
}

// askReal asks all that the backend asks.
func askReal(t *testing.T, r *rig, cloud *real) map[string]answer {
	t.Helper()
	rec := &recorder{last: make(map[string]answer)}
	got := make(map[string]answer)
	keep := func(name, kind string) { got[name] = rec.get(t, kind) }
	r.params.transport = rec
	ref := r.start()
	keep("login", "POST v3/auth/tokens")
	keep("create", "POST v2.1/servers")
	keep("server", "GET v2.1/servers/ID")
	keep("flavors", "GET v2.1/flavors/detail")
	keep("images", "GET v2/images")
	keep("networks", "GET v2.0/networks")
	for name, at := range map[string]*gophercloud.ServiceClient{"image versions": cloud.glance, "network versions": cloud.neutron} {
		keep(name, "GET "+strings.TrimRight(strings.TrimPrefix(at.Endpoint, "http:"), "/"))
	}
	if _, err := r.b.List(r.ctx); err != nil {
		t.Fatal(err)
	}
	keep("servers", "GET v2.1/servers/detail")
	var findings []latent.Finding
	r.b.Examine(r.ctx, func(f latent.Finding) { findings = append(findings, f) })
	if len(findings) != 7 || slices.ContainsFunc(findings, func(f latent.Finding) bool { return f.Health != latent.Fine }) {
		t.Errorf("findings: %+v", findings)
	}
	keep("version", "GET v3")
	keep("limits", "GET v2.1/limits")
	c, err := r.b.cloud(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.console(r.ctx, ref.Handle, 3); err != nil {
		t.Error(err)
	}
	keep("console", "POST v2.1/servers/ID/action")
	r.stop(ref)
	keep("delete", "DELETE v2.1/servers/ID")
	if s, err := c.server(r.ctx, "00000000-0000-0000-0000-000000000000"); s != nil || err != nil { // one that was there may be shown as DELETED for a moment
		t.Errorf("a server that there never was: %+v, %v", s, err)
	}
	keep("no server", "GET v2.1/servers/ID")

	r.declareReal(fmt.Sprintf("image=%q, networks=[%q], flavor=%q", testImage, testNetwork, hugeFlavor))
	r.params.transport = rec
	if _, _, err := r.tryStart(nil); err == nil || !strings.Contains(err.Error(), "No valid host") {
		t.Errorf("on a host that there is not: %v", err)
	}
	keep("broken server", "GET v2.1/servers/ID")

	r.declareReal(fmt.Sprintf("image=%q, networks=[%q], key_name=\"nobody\"", testImage, testNetwork))
	r.params.transport = rec
	if _, _, err := r.tryStart(nil); !errors.Is(err, latent.ErrCannotSubstantiate) || !strings.Contains(err.Error(), "Invalid key_name provided") {
		t.Errorf("with a key that there is not: %v", err)
	}
	keep("bad request", "POST v2.1/servers")

	r.declareReal(fmt.Sprintf(`image=%q, os_auth_url=%q, os_username="admin", os_password="wrong", os_tenant_name="admin"`, testImage, strings.TrimSuffix(cloud.nova.IdentityEndpoint, "/")))
	r.params.transport = rec
	if _, _, err := r.tryStart(nil); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("with a wrong password: %v", err)
	}
	keep("wrong password", "POST v3/auth/tokens")
	r.declareReal(fmt.Sprintf("image=%q", testImage))
	return got
}

// shape is what of a JSON text does not depend on when and where it was made: which fields
// there are, and of lists and of what has names of its own only that they are there.
func shape(t *testing.T, text json.RawMessage) string {
	t.Helper()
	if len(text) == 0 {
		return ""
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return shapeOf(v)
}

func shapeOf(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var fields []string
		for k, e := range v {
			switch k {
			case "metadata", "addresses", "properties", "extra_specs", "fault":
				fields = append(fields, k)
			default:
				fields = append(fields, k+":"+shapeOf(e))
			}
		}
		slices.Sort(fields)
		return "{" + strings.Join(fields, " ") + "}"
	case []any:
		return "[]"
	}
	return "."
}
