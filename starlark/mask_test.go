package starlark

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever is shown of a line, it is no password (requirements A1.5), and a caret
// still points to its letter.
func TestMasked(t *testing.T) {
	known := map[string]bool{"s3cret": true}
	tests := []struct{ text, want string }{
		{`worker.Worker("w1", "hunter2", max_builds = 2)`, `worker.Worker("w1", "*******", max_builds = 2)`},
		{`worker.Worker('w1', 'hunter2')`, `worker.Worker('w1', '*******')`},
		{`worker.Worker("w1", password = "hunter2")`, `worker.Worker("w1", password = "*******")`},
		{`worker.Worker("w1", pasword = "hunter2")`, `worker.Worker("w1", pasword = "*******")`},
		{`worker.Worker("w1", 123456)`, `worker.Worker("w1", ******)`},
		{`worker.Worker("w1", "hun" + "ter2", properties = {"os": "linux"})`, `worker.Worker("w1", "***" + "****", properties = {"os": "linux"})`},
		{`worker.Worker("w1", env("W1", "hunter2"))`, `worker.Worker("w1", env("W1", "*******"))`},
		{`worker.Worker("w1", util.Secret("w1"))`, `worker.Worker("w1", util.Secret("w1"))`},
		{`worker.Worker("w1", passwords["w1"])`, `worker.Worker("w1", passwords["w1"])`},
		{`worker.DockerLatentWorker("w1", "hunter2", image = "x")`, `worker.DockerLatentWorker("w1", "*******", image = "x")`},
		{`worker.Worker("w1, "hunter2")]`, `worker.Worker("***************`},
		{`worker.Worker("w1", "hunter2)]`, `worker.Worker("***************`},
		{"worker.Worker(\n  \"w1\",\n  \"hunter2\")", "worker.Worker(\n  \"w1\",\n  \"*******\")"},
		{`worker.Worker("w1", """hunter2""")`, `worker.Worker("w1", """*******""")`},
		{`worker.Worker("w1", "pässwörd")`, `worker.Worker("w1", "********")`},
		{`passwords = {"w1": "hunter2"}`, `passwords = {"w1": "*******"}`},
		{`PASSWORD = "hunter2"`, `PASSWORD = "*******"`},
		{`x = dict(secret = ["a", "b"])`, `x = dict(secret = ["*", "*"])`},
		{`git(sshPrivateKey = "k", auth_credentials = ("a", "b"))`, `git(sshPrivateKey = "*", auth_credentials = ("*", "*"))`},
		{`bot("w1", "s3cret")`, `bot("w1", "******")`},
		{`steps.ShellCommand("w1", "make")`, `steps.ShellCommand("w1", "make")`},
		{`worker.Worker("w1", p) # "it's`, `worker.Worker("w1", p) # "it's`},
		{`util.WorkerLock("a", "b")`, `util.WorkerLock("a", "b")`},
		{`)]}"a`, `)]}"a`},
	}
	for _, tt := range tests {
		if got := masked(tt.text, known); got != tt.want {
			t.Errorf("%s\nis shown as\n%s\nwant\n%s", tt.text, got, tt.want)
		}
	}
}

func FuzzMasked(f *testing.F) {
	for _, s := range []string{`worker.Worker("w1", "hunter2")`, `pw = """a`, `{"secret": [1, 'é', (`, "\\", `x[")`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
		got := masked(s, map[string]bool{"x": true})
		if utf8.RuneCountInString(got) != utf8.RuneCountInString(s) || strings.Count(got, "\n") != strings.Count(s, "\n") {
			t.Errorf("%q became %q: the columns moved", s, got)
		}
	})
}
