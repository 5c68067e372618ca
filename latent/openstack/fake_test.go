package openstack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"buildstar/latent"
)

// A fake is a cloud made of the recorded answers: it changes of them what tests are about. It
// has one flavor, small, an image, debian, and a network, net.
type fake struct {
	t       *testing.T
	answers map[string]answer

	mu       sync.Mutex
	asked    map[string]int // requests, by kindOf
	bodies   []map[string]any
	servers  map[string]*fakeServer
	tokens   map[string]bool // that are good
	images   []map[string]any
	looks    int                                                  // at a server until it is built
	becomes  string                                               // what a server is then; "": ACTIVE
	lingers  int                                                  // looks at a server until it is gone
	intrude  func(req *http.Request, body map[string]any) *answer // answers in the fake's place
	password string
	flavorID string
	ahead    time.Duration // how much its clock is
}

type fakeServer struct {
	id, name, status, task string
	metadata               map[string]any
	looks                  int // until the next status
}

func newFake(t *testing.T) *fake {
	f := &fake{
		t: t, answers: readAnswers(t), asked: make(map[string]int), servers: make(map[string]*fakeServer), tokens: make(map[string]bool),
		looks: 2, lingers: 2, password: "secret", flavorID: "ci-small-id",
	}
	f.addImage("debian", time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC), 3<<30)
	return f
}

// newRig makes a backend at a fake cloud; args follow the name, the password, the flavor
// and the account.
func newRig(t *testing.T, args string) (*rig, *fake) {
	t.Helper()
	f := newFake(t)
	r := &rig{t: t, ctx: t.Context(), env: latent.Env{Master: "Mtest", Basedir: t.TempDir()}}
	r.declareFake(f, args)
	return r, f
}

const fakeAccount = `os_username="admin", os_password="secret", os_tenant_name="admin", os_auth_url="http://keystone.test:5000/v3"`

func (r *rig) declareFake(f *fake, args string) {
	r.t.Helper()
	if !strings.Contains(args, "os_") {
		args = fakeAccount + ", " + args
	}
	if !strings.Contains(args, "flavor") {
		args = `flavor="ci-small", ` + args
	}
	p := declare(r.t, `"w_1", "pw", `+args).Latent.Backend.(*Params)
	p.transport = f
	r.open(p)
}

// object returns what stands under a key of a recorded answer, to be changed.
func (f *fake) object(name, key string) map[string]any {
	var v map[string]any
	if err := json.Unmarshal(f.answers[name].Body, &v); err != nil {
		f.t.Fatal(err)
	}
	if list, ok := v[key].([]any); ok {
		return list[0].(map[string]any)
	}
	return v[key].(map[string]any)
}

func (f *fake) addImage(name string, created time.Time, size int64) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.object("images", "images")
	id := fmt.Sprintf("00000000-0000-0000-0000-%012d", len(f.images)+1)
	i["id"], i["name"], i["created_at"], i["size"], i["min_disk"], i["virtual_size"] = id, name, created.Format(time.RFC3339), size, 0, nil
	f.images = append(f.images, i)
	return id
}

func (f *fake) removeImage(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images = slices.DeleteFunc(f.images, func(i map[string]any) bool { return i["name"] == name })
}

// count is how often something was asked.
func (f *fake) count(kind string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[kind]
}

// alive are the names of the servers there are.
func (f *fake) alive() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for _, s := range f.servers {
		names = append(names, s.name)
	}
	slices.Sort(names)
	return names
}

// set changes a server.
func (f *fake) set(id, status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.servers[id].status = status
}

// server puts a server there.
func (f *fake) add(name string, metadata map[string]any) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.addLocked(name, metadata)
}

func (f *fake) addLocked(name string, metadata map[string]any) string {
	id := fmt.Sprintf("10000000-0000-0000-0000-%012d", len(f.asked)*100+f.asked["POST v2.1/servers"]*1000+len(f.servers))
	f.servers[id] = &fakeServer{id: id, name: name, status: "BUILD", metadata: metadata, looks: f.looks}
	return id
}

// expire makes all tokens bad.
func (f *fake) expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.tokens)
}

// last is the last request for a server.
func (f *fake) last() map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.bodies) == 0 {
		f.t.Fatal("no server was asked for")
	}
	return f.bodies[len(f.bodies)-1]
}

// RoundTrip answers.
func (f *fake) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	var body map[string]any
	if req.Body != nil {
		defer req.Body.Close()
		if err := json.NewDecoder(req.Body).Decode(&body); err != nil && err != io.EOF {
			return nil, err
		}
	}
	f.mu.Lock()
	f.asked[kindOf(req)]++
	intrude := f.intrude
	f.mu.Unlock()
	var a answer
	header := http.Header{"Content-Type": {"application/json"}}
	intruder := (*answer)(nil)
	if intrude != nil {
		intruder = intrude(req, body)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case intruder != nil && intruder.Status == 0:
		return nil, context.DeadlineExceeded
	case intruder != nil:
		a = *intruder
	case req.Method == http.MethodPost && req.URL.Path == "/v3/auth/tokens":
		a = f.login(body, header)
	case req.URL.Path == "/v3":
		a = f.answers["version"]
	case strings.Trim(req.URL.Path, "/") == "":
		a = f.answers[f.serves(req.URL.Host)+" versions"]
	case !f.tokens[req.Header.Get("X-Auth-Token")]:
		a = f.answers["wrong password"]
	default:
		a = f.answer(req, body)
	}
	return &http.Response{
		StatusCode: a.Status, Status: http.StatusText(a.Status), Header: header, Body: io.NopCloser(bytes.NewReader(a.Body)), Request: req,
	}, nil
}

// serves is the type of the service that the catalog has at an address.
func (f *fake) serves(host string) string {
	for _, s := range f.object("login", "token")["catalog"].([]any) {
		s := s.(map[string]any)
		for _, e := range s["endpoints"].([]any) {
			if u, err := url.Parse(e.(map[string]any)["url"].(string)); err == nil && u.Host == host {
				return s["type"].(string)
			}
		}
	}
	return ""
}

func (f *fake) login(body map[string]any, header http.Header) answer {
	if text, _ := json.Marshal(body); !strings.Contains(string(text), `"`+f.password+`"`) {
		return f.answers["wrong password"]
	}
	token := fmt.Sprintf("token%d", f.asked["POST v3/auth/tokens"])
	f.tokens[token] = true
	header.Set("X-Subject-Token", token)
	t := f.object("login", "token")
	t["issued_at"], t["expires_at"] = time.Now().Add(f.ahead).UTC().Format(time.RFC3339Nano), time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)
	return reply(201, map[string]any{"token": t})
}

func reply(status int, v any) answer {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return answer{status, text}
}

func (f *fake) answer(req *http.Request, body map[string]any) answer {
	part := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	switch path := strings.Join(part[1:], "/"); {
	case path == "servers" && req.Method == http.MethodPost:
		return f.create(body)
	case path == "servers/detail":
		return f.list(req.URL.Query())
	case path == "flavors/detail":
		small := f.object("flavors", "flavors") // of two, the other is too big for the cloud
		small["id"], small["name"], small["ram"] = f.flavorID, "ci-small", 128
		return reply(200, map[string]any{"flavors": []any{small}})
	case path == "limits":
		return f.answers["limits"]
	case path == "images":
		return reply(200, map[string]any{"images": f.images})
	case path == "networks":
		n := f.object("networks", "networks")
		if q := req.URL.Query(); q.Get("id") != "" && q.Get("id") != n["id"] || q.Get("name") != "" && q.Get("name") != n["name"] {
			return reply(200, map[string]any{"networks": []any{}})
		}
		return f.answers["networks"]
	case part[1] == "servers" && len(part) > 2:
		return f.server(req.Method, part[2], len(part) > 3)
	}
	f.t.Errorf("nobody recorded %s %s", req.Method, req.URL)
	return reply(404, map[string]any{})
}

func (f *fake) create(body map[string]any) answer {
	f.bodies = append(f.bodies, body)
	s := body["server"].(map[string]any)
	if ref := s["imageRef"]; ref != "" && !slices.ContainsFunc(f.images, func(i map[string]any) bool { return i["id"] == ref }) {
		return reply(400, map[string]any{"badRequest": map[string]any{"code": 400, "message": "Can not find requested image"}})
	}
	metadata, _ := s["metadata"].(map[string]any)
	made := f.object("create", "server")
	made["id"] = f.addLocked(s["name"].(string), metadata)
	return reply(202, map[string]any{"server": made})
}

func (f *fake) list(q url.Values) answer {
	list := []any{}
	for _, id := range slices.Sorted(maps.Keys(f.servers)) {
		s := f.servers[id]
		if name := q.Get("name"); name == "" || regexp.MustCompile(name).MatchString(s.name) {
			list = append(list, f.show(s))
		}
	}
	return reply(200, map[string]any{"servers": list})
}

func (f *fake) show(s *fakeServer) map[string]any {
	name := "server"
	if s.status == "ERROR" {
		name = "broken server"
	}
	o := f.object(name, "server")
	o["id"], o["name"], o["status"], o["metadata"], o["OS-EXT-STS:task_state"] = s.id, s.name, s.status, s.metadata, nil
	if s.task != "" {
		o["OS-EXT-STS:task_state"] = s.task
	}
	return o
}

func (f *fake) server(method, id string, action bool) answer {
	s := f.servers[id]
	switch {
	case s == nil:
		return f.answers["no server"]
	case action:
		return f.answers["console"]
	case method == http.MethodDelete:
		if s.task = "deleting"; f.lingers == 0 {
			delete(f.servers, id)
		}
		s.looks = f.lingers
		return f.answers["delete"]
	}
	if s.looks--; s.looks <= 0 {
		switch {
		case s.task == "deleting":
			delete(f.servers, id)
			return f.answers["no server"]
		case s.status == "BUILD" && f.becomes == "gone":
			delete(f.servers, id)
			return f.answers["no server"]
		case s.status == "BUILD" && f.becomes != "":
			s.status = f.becomes
		case s.status == "BUILD":
			s.status = "ACTIVE"
		}
	}
	return reply(200, map[string]any{"server": f.show(s)})
}
