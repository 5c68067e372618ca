package configtest_test

import (
	"testing"

	"buildstar/config"
	"buildstar/engine/change"
	"buildstar/starlark"
)

// load evaluates a small configuration with more keys.
func load(t *testing.T, keys string) *config.Snapshot {
	t.Helper()
	text := `c = {}
c['workers'] = [worker.LocalWorker("local")]
c['builders'] = [util.BuilderConfig(name = "b", workernames = ["local"], factory = util.BuildFactory([]))]
c['schedulers'] = [schedulers.ForceScheduler(name = "force", builderNames = ["b"])]
` + keys
	s, _, err := starlark.Replay(t.Context(), []config.Input{{Path: "master.star", Data: []byte(text)}}, nil, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What c['codebaseGenerator'] and c['revlink'] say of a change.
func TestChangeFunctions(t *testing.T) {
	told := change.Input{Author: "a", Revision: "r1", Repository: "https://github.com/o/r", Branch: "main", Files: []string{"f"}}
	tests := []struct{ keys, codebase, link string }{
		{"", "", "https://github.com/o/r/commit/r1"},
		{"c['codebaseGenerator'] = None\nc['revlink'] = None", "", "https://github.com/o/r/commit/r1"},
		{"c['codebaseGenerator'] = lambda ch: '%s %s %s %s' % (ch['repository'], ch['branch'], ch['files'][0], ch['category'])",
			"https://github.com/o/r main f None", "https://github.com/o/r/commit/r1"},
		{"c['revlink'] = lambda revision, repository: repository + '?' + revision", "", "https://github.com/o/r?r1"},
		{"c['revlink'] = util.RevlinkMatch(['https://github.com/([^/]*)/'], r'https://\\1/%s')", "", "https://o/r1"},
		{"c['revlink'] = util.RevlinkMatch(['https://example.org/([^/]*)/'], r'https://\\1/%s')", "", ""},
	}
	for _, tt := range tests {
		in, noLink, err := told.FillIn(t.Context(), &load(t, tt.keys).Master)
		if err != nil || noLink != nil || *in.Codebase != tt.codebase || in.RevLink != tt.link {
			t.Errorf("%s: codebase %v, link %q, %v, %v", tt.keys, *in.Codebase, in.RevLink, noLink, err)
		}
	}
}

// A function of the configuration is stopped: a change does not wait for ever.
func TestChangeFunctionThatNeverEnds(t *testing.T) {
	s := load(t, "def f(ch):\n    for i in range(1 << 40):\n        pass\nc['codebaseGenerator'] = f")
	if in, _, err := (change.Input{Author: "a"}).FillIn(t.Context(), &s.Master); err == nil {
		t.Errorf("filled in %+v", in)
	}
}

// What c['www'] says of change hooks.
func TestWWW(t *testing.T) {
	tests := []struct {
		www   string
		hooks int
		auth  string // the password of "me"
	}{
		{"{}", 0, ""},
		{"{'change_hook_dialects': {}}", 0, ""},
		{"{'change_hook_dialects': {'base': False}}", 0, ""},
		{"{'change_hook_dialects': {'base': True}}", 1, ""},
		{"{'change_hook_dialects': {'base': True, 'poller': True}}", 2, ""},
		{"{'change_hook_dialects': {'poller': False}}", 0, ""},
		{"{'change_hook_dialects': {'poller': {'allowed': []}}}", 1, ""},
		{"{'change_hook_dialects': {'base': {}}, 'change_hook_auth': {'me': 'secret', 'you': 'x'}}", 1, "secret"},
	}
	for _, tt := range tests {
		w := load(t, "c['www'] = "+tt.www).Master.WWW
		if len(w.ChangeHooks) != tt.hooks || w.ChangeHookAuth["me"].Reveal() != tt.auth {
			t.Errorf("%s: %v", tt.www, w)
		}
	}
}
