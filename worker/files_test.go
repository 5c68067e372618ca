package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"buildstar/conn/wire"
)

func strs(t testing.TB, v any) []string {
	t.Helper()
	list, ok := v.([]any)
	if !ok {
		t.Fatalf("files = %v", v)
	}
	out := []string{}
	for _, e := range list {
		out = append(out, e.(string))
	}
	slices.Sort(out)
	return out
}

func TestFileCommands(t *testing.T) {
	m := startWorker(t)
	dir := m.basedir
	put(t, filepath.Join(dir, "file"), []byte("x"))
	if err := os.WriteFile(filepath.Join(dir, "bad\xff"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p := func(rel string) string { return filepath.Join(dir, rel) }
	for _, tt := range []struct {
		name   string
		args   cmdArgs
		rc     int64
		header string
	}{
		{wire.CmdMkdir, cmdArgs{"paths": []string{p("m/n"), p("o")}}, 0, ""},
		{wire.CmdMkdir, cmdArgs{"paths": []string{p("m/n")}}, 0, ""},
		{wire.CmdMkdir, cmdArgs{"paths": []string{p("file/x"), p("never")}}, int64(syscall.ENOTDIR), "mkdir: Not a directory: " + p("file/x") + "\n"},
		{wire.CmdStat, cmdArgs{"path": p("nope")}, 2, "stat: No such file or directory: " + p("nope") + "\n"},
		{wire.CmdListdir, cmdArgs{"path": p("nope")}, 2, "listdir: No such file or directory: " + p("nope") + "\n"},
		{wire.CmdRmfile, cmdArgs{"path": p("nope")}, 2, "rmfile: No such file or directory: " + p("nope") + "\n"},
		{wire.CmdRmfile, cmdArgs{"path": p("o")}, int64(syscall.EISDIR), "rmfile: Is a directory: " + p("o") + "\n"},
	} {
		r := m.run(tt.name, tt.args)
		r.rc(t, tt.rc)
		if got := r.texts[wire.Header]; got != tt.header {
			t.Errorf("%s %v: header = %q, want %q", tt.name, tt.args, got, tt.header)
		}
		if tt.header != "" && !slices.Equal(r.keys, []string{"rc", "elapsed", "header"}) {
			t.Errorf("%s: keys = %v", tt.name, r.keys)
		}
	}
	if _, err := os.Stat(p("never")); err == nil {
		t.Error("mkdir went on after an error")
	}

	r := m.run(wire.CmdListdir, cmdArgs{"path": dir})
	if diff := cmp.Diff([]string{"bad\ufffd", "file", "m", "o"}, strs(t, r.values[wire.Files])); diff != "" {
		t.Error(diff)
	}
	r = m.run(wire.CmdListdir, cmdArgs{"path": "m/n"})
	if got := strs(t, r.values[wire.Files]); len(got) != 0 {
		t.Errorf("an empty directory has %v", got)
	}
	r = m.run(wire.CmdStat, cmdArgs{"path": p("file")})
	st, err := os.Stat(p("file"))
	if err != nil {
		t.Fatal(err)
	}
	got, ok := r.values[wire.StatResult].([]any)
	if !ok || len(got) != 10 || got[0] != int64(0o100644) || got[6] != int64(1) || got[8] != st.ModTime().Unix() {
		t.Errorf("stat = %v", got)
	}
	m.run(wire.CmdRmfile, cmdArgs{"path": p("file")}).rc(t, 0)
	if _, err := os.Stat(p("file")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after rmfile: %v", err)
	}
}

func TestGlob(t *testing.T) {
	m := startWorker(t)
	for _, name := range []string{"a.c", "b.c", "b.h", ".hidden.c", "x[1]", "d/e.c", "d/f/g.c", "d/.h/i.c", "d/f/j"} {
		put(t, filepath.Join(m.basedir, name), nil)
	}
	if err := os.Symlink("..", filepath.Join(m.basedir, "d", "loop")); err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string]string{
		"*.c":      "a.c b.c",
		".*.c":     ".hidden.c",
		"?.[ch]":   "a.c b.c b.h",
		"[!a].*":   "b.c b.h",
		"b.[!a-f]": "b.h",
		"x[[]1]":   "x[1]",
		"[":        "",
		"zzz*":     "",
		"a.c":      "a.c",
		"d/*":      "d/e.c d/f d/loop",
		"d/*/":     "d/f/ d/loop/",
		"*/*.c":    "d/e.c",
		"**/*.c":   "a.c b.c d/e.c d/f/g.c",
		"**/f":     "d/f",
		"d/**":     "d/ d/e.c d/f d/f/g.c d/f/j d/loop",
		"d/**/":    "d/ d/f/",
		"d/**/**":  "d/ d/e.c d/f d/f/g.c d/f/j d/loop",
		"a.c/x":    "",
	} {
		for _, prefix := range []string{"", m.basedir + "/"} {
			r := m.run(wire.CmdGlob, cmdArgs{"path": prefix + pattern})
			r.rc(t, 0)
			expect := []string{}
			for name := range strings.FieldsSeq(want) {
				expect = append(expect, prefix+name)
			}
			if diff := cmp.Diff(expect, strs(t, r.values[wire.Files])); diff != "" {
				t.Errorf("%s%s: %s", prefix, pattern, diff)
			}
		}
	}
}

// shape describes a tree: names, modes, times, contents, links.
func shape(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := os.Lstat(path)
		if err != nil {
			return err
		}
		text := ""
		if st.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(b)
		}
		if st.Mode()&fs.ModeSymlink != 0 {
			if text, err = os.Readlink(path); err != nil {
				return err
			}
		}
		rel, _ := filepath.Rel(dir, path)
		got[rel] = fmt.Sprintf("%v %v %q", st.Mode(), st.ModTime().UnixMicro(), text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCpdirRmdir(t *testing.T) {
	m := startWorker(t)
	from, to := filepath.Join(m.basedir, "from"), filepath.Join(m.basedir, "to")
	tree(t, from)
	if err := os.Chmod(filepath.Join(from, "empty"), 0o555); err != nil {
		t.Fatal(err)
	}
	r := m.run(wire.CmdCpdir, cmdArgs{"from_path": from, "to_path": to})
	r.rc(t, 0)
	want := shape(t, from)
	if diff := cmp.Diff(want, shape(t, to)); diff != "" {
		t.Error(diff)
	}
	if r.texts[wire.Stdout] != "" {
		t.Errorf("stdout = %q", r.texts[wire.Stdout])
	}
	// Into a directory that is there already.
	m.run(wire.CmdCpdir, cmdArgs{"from_path": from, "to_path": to}).rc(t, 0)
	if diff := cmp.Diff(want, shape(t, filepath.Join(to, "from"))); diff != "" {
		t.Error(diff)
	}
	r = m.run(wire.CmdCpdir, cmdArgs{"from_path": from + "/nope", "to_path": to})
	r.rc(t, 1)
	contains(t, "stderr", r.texts[wire.Stderr], "no such file")
	r = m.run(wire.CmdCpdir, cmdArgs{"from_path": from, "to_path": from + "/sub/x"})
	r.rc(t, 1)
	contains(t, "stderr", r.texts[wire.Stderr], "into itself")

	locked := filepath.Join(to, "locked", "deep")
	put(t, filepath.Join(locked, "f"), nil)
	for _, d := range []string{locked, filepath.Dir(locked)} {
		if err := os.Chmod(d, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	m.run(wire.CmdRmdir, cmdArgs{"paths": []string{to, filepath.Join(from, "a"), from + "/nope"}}).rc(t, 0)
	for _, p := range []string{to, filepath.Join(from, "a")} {
		if _, err := os.Lstat(p); err == nil {
			t.Errorf("%s is still there", p)
		}
	}
	if _, err := os.Stat(filepath.Join(from, "sub", "b")); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
	r = m.run(wire.CmdRmdir, cmdArgs{"paths": []string{"/proc/1/fd"}})
	r.rc(t, 1)
}

// Trees stop when they are interrupted or get nowhere.
func TestTreeEnds(t *testing.T) {
	m := startWorker(t)
	from := filepath.Join(m.basedir, "from")
	put(t, filepath.Join(from, "f"), make([]byte, 100<<20))
	for _, tt := range []struct {
		name   string
		more   cmdArgs
		reason any
		header string
	}{
		{"maxTime", cmdArgs{"maxTime": 1e-6}, "timeout", "command timed out: 0.000001 seconds elapsed"},
		{"timeout", cmdArgs{"timeout": 1e-9}, "timeout_without_output", "without progress"},
	} {
		args := cmdArgs{"from_path": from, "to_path": filepath.Join(m.basedir, tt.name)}
		for k, v := range tt.more {
			args[k] = v
		}
		r := m.run(wire.CmdCpdir, args)
		r.rc(t, -1)
		if got := r.values[wire.FailureReason]; got != tt.reason {
			t.Errorf("%s: failure_reason = %v", tt.name, got)
		}
		contains(t, "header", r.texts[wire.Header], tt.header)
	}
}

// Each file command ends when it is interrupted. A directory that never ends is
// hard to make, so the interrupt comes first.
func TestInterruptFileCommands(t *testing.T) {
	s := &session{cfg: Config{Basedir: t.TempDir()}, set: defaultSettings(), log: discard(), dead: make(chan struct{})}
	close(s.dead)
	put(t, filepath.Join(s.cfg.Basedir, "d", "f"), nil)
	for name, args := range map[string]map[string]any{
		wire.CmdMkdir: {"paths": []any{"x"}}, wire.CmdRmdir: {"paths": []any{"d"}}, wire.CmdGlob: {"path": "**"},
		wire.CmdCpdir: {"from_path": "d", "to_path": "e"},
	} {
		r := &reader{args: args}
		run := commands[name].parse(s, r)
		c := newCommand(s, "1", name, nil, func() {})
		c.cancel(errInterrupted)
		if err := run(c); err != nil || r.err != nil {
			t.Errorf("%s: %v, %v", name, err, r.err)
		}
		var keys []string
		for _, e := range c.out.entries {
			keys = append(keys, e.Key)
			if e.Key == wire.RC && e.Value != -1 {
				t.Errorf("%s: rc = %v", name, e.Value)
			}
		}
		if !slices.Contains(keys, wire.RC) {
			t.Errorf("%s: keys = %v", name, keys)
		}
	}
	for _, p := range []string{"x", "e"} {
		if _, err := os.Stat(filepath.Join(s.cfg.Basedir, p)); err == nil {
			t.Errorf("%s was made after the interrupt", p)
		}
	}
	if _, err := os.Stat(filepath.Join(s.cfg.Basedir, "d", "f")); err != nil {
		t.Error("a file was removed after the interrupt")
	}
}

// A link named with a slash at its end is still only a link: what it leads to stays.
func TestRmdirLinkWithSlash(t *testing.T) {
	m := startWorker(t)
	precious := filepath.Join(t.TempDir(), "precious")
	put(t, precious, []byte("x"))
	link := filepath.Join(m.basedir, "link")
	if err := os.Symlink(filepath.Dir(precious), link); err != nil {
		t.Fatal(err)
	}
	m.run(wire.CmdRmdir, cmdArgs{"paths": []string{link + "/"}}).rc(t, 0)
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(link); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link is still there: %v", err)
	}
}
