package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sendchangeOutput runs "buildstar sendchange" with these arguments.
func sendchangeOutput(t *testing.T, args ...string) (out string, status int) {
	t.Helper()
	var b bytes.Buffer
	a := &app{out: &b, err: &b, getenv: func(string) string { return "" }}
	status = a.main(t.Context(), append([]string{"sendchange"}, args...))
	return b.String(), status
}

// page answers calls as a master's page does, with what answer returns.
func page(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, params any)) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call struct {
			Method string
			Params any
		}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &call)
		}
		if err != nil || call.Method != "add" || r.URL.Path != "/api/v2/changes" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %s: %s, %v", r.Method, r.URL, r.Header, body, err)
		}
		answer(w, r, call.Params)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestSendchange(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"rev": "r42\n", "log": "one\ntwo\n", "pw": "me:secret\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var told any
	var user, password string
	url := page(t, func(w http.ResponseWriter, r *http.Request, params any) {
		told = params
		user, password, _ = r.BasicAuth()
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":17}`)
	})
	tests := []struct {
		args []string
		want string
		user string
	}{
		{[]string{"--who", "ann"}, `{"author":"ann","files":[],"properties":{}}`, ""},
		{[]string{"--who", "Ann <a@b>", "--committer", "bob", "--repository", "r", "--vc", "git", "--project", "p", "--branch", "b", "--category", "c", "--codebase", "cb",
			"--revision", "1", "--property", "n:v:w", "--property", "m:", "--comments", "why", "--when", "1.5", "--revlink", "l", "--auth", "me:secret", "a.c", "b.c"},
			`{"author":"Ann <a@b>","committer":"bob","comments":"why","branch":"b","revision":"1","category":"c","revlink":"l","repository":"r","project":"p","codebase":"cb",
			"when_timestamp":1.5,"files":["a.c","b.c"],"properties":{"n":"v:w","m":""}}`, "me:secret"},
		{[]string{"-W", "ann", "-R", "r", "-s", "hg", "-P", "p", "-b", "b", "-C", "c", "-p", "n:v", "-l", "l", "-a", "@pw", "--revision_file", "rev", "-F", "log",
			"-w", "1970-01-01T00:00:02Z", "--codebase", "", "-e", "utf-8"},
			`{"author":"ann","comments":"one\ntwo\n","branch":"b","revision":"r42","category":"c","revlink":"l","repository":"r","project":"p","codebase":"",
			"when_timestamp":2,"files":[],"properties":{"n":"v"}}`, "me:secret"},
		{[]string{"--author", "J\xf6rg", "-e", "latin-1", "-p", "\xe4:\xfc", "\xf6.c"}, `{"author":"Jörg","files":["ö.c"],"properties":{"ä":"ü"}}`, ""},
	}
	for _, tt := range tests {
		out, status := sendchangeOutput(t, append(tt.args, "-m", url+"/")...)
		if status != 0 || out != "change 17 was added\n" {
			t.Errorf("%q: status %d: %s", tt.args, status, out)
		}
		var want any
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("%q: %s", tt.args, diff)
		}
		if tt.user != "" && user+":"+password != tt.user {
			t.Errorf("%q: sent by %s:%s", tt.args, user, password)
		}
	}
}

func TestSendchangeFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	for want, args := range map[string][]string{
		"Say so with --who":           {"a.c"},
		"--comments and --logfile":    {"-W", "a", "-c", "x", "-F", "y"},
		"--revision and --revision_f": {"-W", "a", "-r", "x", "--revision_file", "y"},
		`"rcs" is none of cvs svn`:    {"-W", "a", "-s", "rcs"},
		"not that of a PBChangeSou":   {"-W", "a", "-m", "localhost:9989"},
		"want NAME:VALUE":             {"-W", "a", "-p", "x"},
		"want seconds since 1970":     {"-W", "a", "-w", "yesterday"},
		"want USER:PASSWORD":          {"-W", "a", "-a", "me"},
		`"koi8" is not known, only`:   {"-W", "a", "-e", "koi8"},
		"--branch is not UTF-8; is":   {"-W", "a", "-b", "\xff"},
	} {
		if out, status := sendchangeOutput(t, args...); status != 2 || !strings.Contains(out, want) {
			t.Errorf("%q: status %d, want 2 and %q in\n%s", args, status, want, out)
		}
	}
	for want, args := range map[string][]string{
		"no master runs on .; give the address": {"-W", "a"},
		"open none: no such file":               {"-W", "a", "-F", "none"},
		"connection refused":                    {"-W", "a", "-m", "http://127.0.0.1:1/"},
	} {
		if out, status := sendchangeOutput(t, args...); status != 1 || !strings.Contains(out, want) {
			t.Errorf("%q: status %d, want 1 and %q in\n%s", args, status, want, out)
		}
	}
}

// What the master refuses is what the person reads.
func TestSendchangeRefused(t *testing.T) {
	for want, answer := range map[string]http.HandlerFunc{
		"author is missing": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"author is missing"}}`)
		},
		"502 Bad Gateway: <html>": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			fmt.Fprint(w, "<html>\n")
		},
		"the address that https://other/x is at": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "https://other/x", http.StatusFound) },
		"makes no sense":                         func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"result":"x"}`) },
	} {
		url := page(t, func(w http.ResponseWriter, r *http.Request, _ any) { answer(w, r) })
		out, status := sendchangeOutput(t, "-W", "ann", "-m", strings.Replace(url, "http://", "http://me:secret@", 1))
		if status != 1 || !strings.Contains(out, want) || strings.Contains(out, "secret") {
			t.Errorf("status %d, want 1 and %q in\n%s", status, want, out)
		}
	}
}
