package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

var sendchange = command{
	name: "sendchange", args: "[FILE...]",
	short: "tell a master of a change",
	long: `FILEs are the files that changed. The change goes over HTTP to the master's page, as
the JSON-RPC method "add" of /api/v2/changes; Buildbot's sendchange went to a
PBChangeSource, which is not needed here. Without --master it goes to the master that
runs on --dir. The number of the change is printed.`,
	setup: func(fs *flag.FlagSet) func(context.Context, *app, []string) error {
		s := &change{Properties: map[string]string{}}
		s.flags(fs)
		return func(ctx context.Context, a *app, args []string) error {
			s.Files = args
			if err := s.complete(); err != nil {
				return err
			}
			if s.master == "" {
				r, err := findRunning(s.dir)
				if err != nil {
					return fmt.Errorf("%w; give the address of its page with --master", err)
				}
				if r.URL == "" {
					return fmt.Errorf("the master on %s has no web server: c['www'] is not set", s.dir)
				}
				s.master = r.URL
			}
			id, err := s.send(ctx)
			if err != nil {
				return fmt.Errorf("send the change to %s: %w", withoutPassword(s.master), err)
			}
			_, err = fmt.Fprintf(a.out, "change %d was added\n", id)
			return err
		}
	},
}

// change is what sendchange tells; what is empty is not told.
type change struct {
	Author     string            `json:"author"`
	Committer  string            `json:"committer,omitempty"`
	Comments   string            `json:"comments,omitempty"`
	Branch     string            `json:"branch,omitempty"`
	Revision   string            `json:"revision,omitempty"`
	Category   string            `json:"category,omitempty"`
	RevLink    string            `json:"revlink,omitempty"`
	Repository string            `json:"repository,omitempty"`
	Project    string            `json:"project,omitempty"`
	Codebase   *string           `json:"codebase,omitempty"`
	When       float64           `json:"when_timestamp,omitempty"` // seconds since 1970
	Files      []string          `json:"files"`
	Properties map[string]string `json:"properties"`

	master, dir, auth, vc, encoding string
	logfile, revisionFile           string
}

// flags declares the flags, by Buildbot's long and short names.
func (c *change) flags(fs *flag.FlagSet) {
	text := func(p *string, def, help string, names ...string) {
		fs.StringVar(p, names[0], def, help)
		for _, short := range names[1:] {
			fs.StringVar(p, short, def, "short for --"+names[0])
		}
	}
	text(&c.master, "", "`URL` of the master's page, such as http://localhost:8010/", "master", "m")
	text(&c.dir, ".", "`DIR` of the master, where --master is not given", "dir")
	text(&c.auth, "", "`USER:PASSWORD` for HTTP basic authentication, or @FILE to read it from", "auth", "a")
	text(&c.Author, "", "`WHO` made the change: NAME <ADDRESS>", "who", "W", "author")
	text(&c.Committer, "", "`WHO` committed it", "committer")
	text(&c.Repository, "", "`ADDRESS` of the repository", "repository", "R")
	text(&c.vc, "", "`NAME` of the version control system; accepted for scripts made for Buildbot, it changes nothing", "vc", "s")
	text(&c.Project, "", "`NAME` of the project", "project", "P")
	text(&c.Branch, "", "`NAME` of the branch; none is the default branch", "branch", "b")
	text(&c.Category, "", "`NAME` of the category", "category", "C")
	text(&c.Revision, "", "`REVISION` that the change made", "revision", "r")
	text(&c.revisionFile, "", "`FILE` that holds the revision", "revision_file")
	text(&c.Comments, "", "`TEXT` of the commit's message", "comments", "c")
	text(&c.logfile, "", "`FILE` that holds the message; - is the standard input", "logfile", "F")
	text(&c.RevLink, "", "`URL` that shows the revision; the master knows those of well-known sites", "revlink", "l")
	text(&c.encoding, "utf8", "`NAME` of the encoding of all texts: utf8 or latin-1", "encoding", "e")
	fs.Func("codebase", "`NAME` of the codebase (default: what c['codebaseGenerator'] says)", func(v string) error {
		c.Codebase = &v
		return nil
	})
	for _, name := range []string{"property", "p"} {
		fs.Func(name, map[string]string{"property": "`NAME:VALUE` of a property of the builds; may be repeated", "p": "short for --property"}[name], c.property)
	}
	for _, name := range []string{"when", "w"} {
		fs.Func(name, map[string]string{"when": "`TIME` of the commit: seconds since 1970, or 2006-01-02T15:04:05Z", "w": "short for --when"}[name], c.time)
	}
}

func (c *change) property(v string) error {
	name, value, ok := strings.Cut(v, ":")
	if !ok || name == "" {
		return fmt.Errorf("want NAME:VALUE")
	}
	c.Properties[name] = value
	return nil
}

func (c *change) time(v string) error {
	if at, err := time.Parse(time.RFC3339, v); err == nil {
		c.When = float64(at.UnixMilli()) / 1000
		return nil
	}
	seconds, err := strconv.ParseFloat(v, 64)
	if err != nil || seconds < 0 {
		return fmt.Errorf("want seconds since 1970, or a time such as 2006-01-02T15:04:05Z")
	}
	c.When = seconds
	return nil
}

// versionControls are the systems whose names Buildbot's sendchange takes.
var versionControls = []string{"", "cvs", "svn", "darcs", "hg", "bzr", "git", "mtn", "p4"}

// complete checks what was given and reads what stands in files.
func (c *change) complete() error {
	switch {
	case strings.TrimSpace(c.Author) == "":
		return usageError{"who made the change? Say so with --who"}
	case c.Comments != "" && c.logfile != "":
		return usageError{"--comments and --logfile both give the message: use one"}
	case c.Revision != "" && c.revisionFile != "":
		return usageError{"--revision and --revision_file both give the revision: use one"}
	case !slices.Contains(versionControls, c.vc):
		return usageError{fmt.Sprintf("--vc: %q is none of%s", c.vc, strings.Join(versionControls, " "))}
	}
	if c.master != "" {
		u, err := url.Parse(c.master)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return usageError{fmt.Sprintf("--master: %q is no URL: give the address of the page, such as http://HOST:8010/, not that of a PBChangeSource", c.master)}
		}
	}
	for _, f := range []struct {
		name string
		into *string
	}{{c.logfile, &c.Comments}, {c.revisionFile, &c.Revision}} {
		if f.name == "" {
			continue
		}
		text, err := readText(f.name)
		if err != nil {
			return err
		}
		*f.into = text
	}
	c.Revision = strings.TrimSpace(c.Revision)
	if file, ok := strings.CutPrefix(c.auth, "@"); ok {
		text, err := readText(file)
		if err != nil {
			return err
		}
		c.auth = strings.TrimSpace(text)
	}
	if c.auth != "" && !strings.Contains(c.auth, ":") {
		return usageError{"--auth: want USER:PASSWORD, or @FILE that holds it"}
	}
	return c.decode()
}

// maxText bounds what is read of a file.
const maxText = 8 << 20

// readText reads a file; - is the standard input.
func readText(name string) (string, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return "", err
		}
		defer f.Close()
	}
	data, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(data) > maxText {
		err = fmt.Errorf("read %s: it is larger than %d MiB", name, maxText>>20)
	}
	return string(data), err
}

// decode turns all texts into UTF-8.
func (c *change) decode() error {
	latin := false
	switch strings.ReplaceAll(strings.ToLower(c.encoding), "-", "") {
	case "utf8", "ascii", "usascii":
	case "latin1", "iso88591":
		latin = true
	default:
		return usageError{fmt.Sprintf("--encoding: %q is not known, only utf8 and latin-1: convert the texts before, with iconv", c.encoding)}
	}
	wrong := ""
	fix := func(what, text string) string {
		if latin {
			return fromLatin1(text)
		}
		if !utf8.ValidString(text) && wrong == "" {
			wrong = what
		}
		return text
	}
	c.Author, c.Committer, c.Comments = fix("--who", c.Author), fix("--committer", c.Committer), fix("the message", c.Comments)
	c.Branch, c.Revision, c.Category = fix("--branch", c.Branch), fix("the revision", c.Revision), fix("--category", c.Category)
	c.RevLink, c.Repository, c.Project = fix("--revlink", c.RevLink), fix("--repository", c.Repository), fix("--project", c.Project)
	if c.Codebase != nil {
		*c.Codebase = fix("--codebase", *c.Codebase)
	}
	files, properties := make([]string, len(c.Files)), make(map[string]string, len(c.Properties))
	for i, f := range c.Files {
		files[i] = fix(fmt.Sprintf("the name of file %d", i+1), f)
	}
	for name, value := range c.Properties {
		properties[fix("the name of a property", name)] = fix("property "+strconv.Quote(name), value)
	}
	c.Files, c.Properties = files, properties
	if wrong != "" {
		return usageError{wrong + " is not UTF-8; is it --encoding latin-1?"}
	}
	return nil
}

// fromLatin1 reads each byte as the character of its number.
func fromLatin1(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteRune(rune(text[i]))
	}
	return b.String()
}

func withoutPassword(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the master"
	}
	return u.Redacted()
}

// sendWait is how long the master may take.
const sendWait = 30 * time.Second

// send tells the master and returns the id of the change.
func (c *change) send(ctx context.Context) (id int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, sendWait)
	defer cancel()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "add", "params": c})
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.master, "/")+"/api/v2/changes", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if user, password, ok := strings.Cut(c.auth, ":"); ok {
		req.SetBasicAuth(user, password)
	}
	// A redirect would turn the POST into a GET.
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Result int64
		Error  *struct{ Message string }
	}
	err = json.Unmarshal(data, &answer)
	switch at := res.Header.Get("Location"); {
	case at != "":
		return 0, fmt.Errorf("it is somewhere else: give --master the address that %s is at", at)
	case err == nil && answer.Error != nil:
		return 0, fmt.Errorf("%s", answer.Error.Message)
	case res.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("%s: %.200s", res.Status, bytes.TrimSpace(data))
	case err != nil || answer.Result <= 0:
		return 0, fmt.Errorf("the answer makes no sense: %.200s", data)
	}
	return answer.Result, nil
}
