package worker

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"buildstar/config/prop"
)

// shellArgs are the arguments of shell (docs/protocol.md A.6). Times are 0 if absent.
type shellArgs struct {
	workdir    string // as given: what the header shows
	dir        string // absolute
	argv       []string
	shown      []string // argv as it may be seen: obfuscated words are replaced
	command    string   // the command line if it was one; argv is then a shell's
	environ    environChange
	wantStdout bool
	wantStderr bool
	logEnviron bool
	usePTY     bool
	stdin      string
	hasStdin   bool
	logfiles   []logfile
	logfileArg map[string]any
	timeout    time.Duration
	maxTime    time.Duration
	sigterm    time.Duration
	maxLines   int64
	signal     syscall.Signal // the last means to end it
}

// maxLogfiles is how many files one command may have watched.
const maxLogfiles = 100

func parseShell(s *session, r *reader) runFunc {
	a := shellArgs{
		workdir:    r.text("workdir"),
		environ:    r.parseEnviron("env"),
		wantStdout: r.flag("want_stdout", true),
		wantStderr: r.flag("want_stderr", true),
		logEnviron: r.flag("logEnviron", true),
		usePTY:     r.flag("usePTY", false),
		stdin:      r.textOr("initial_stdin", ""),
		hasStdin:   r.args["initial_stdin"] != nil,
		timeout:    r.seconds("timeout"),
		maxTime:    r.seconds("maxTime"),
		sigterm:    r.seconds("sigtermTime"),
		maxLines:   r.integer("max_lines", 0),
	}
	a.dir = s.path(a.workdir)
	a.parseCommand(r)
	a.parseLogfiles(r)
	name := "SIG" + strings.TrimPrefix(r.textOr("interruptSignal", "KILL"), "SIG")
	if a.signal = unix.SignalNum(name); a.signal == 0 {
		r.fail(fmt.Errorf("interruptSignal: this system has no %s", name))
	}
	return func(c *command) error { return runShell(c, &a) }
}

// path makes a path of the master's absolute: relative ones start in the basedir.
func (s *session) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(s.cfg.Basedir, p)
}

func (a *shellArgs) parseCommand(r *reader) {
	if line, ok := asText(r.args["command"]); ok {
		a.command = line
		a.argv = []string{"/bin/sh", "-c", line}
		a.checkNul(r)
		return
	}
	list, ok := r.args["command"].([]any)
	if !ok || len(list) == 0 {
		r.bad("command", "a command line or a list of words")
		return
	}
	for _, v := range list {
		word, shown, ok := commandWord(v)
		if !ok {
			r.bad("command", "a command line or a list of words")
			return
		}
		a.argv = append(a.argv, word)
		a.shown = append(a.shown, shown)
	}
	a.checkNul(r)
}

func (a *shellArgs) checkNul(r *reader) {
	if slices.ContainsFunc(append(a.argv, a.workdir), func(w string) bool { return strings.Contains(w, "\x00") }) {
		r.fail(errors.New("command: a word cannot contain a NUL character"))
	}
}

// commandWord reads one word. ["obfuscated", REAL, SHOWN] is a word that is not to be
// seen; the stock worker would print it (docs/protocol.md 0.1 item 3).
func commandWord(v any) (word, shown string, ok bool) {
	if triple, isList := v.([]any); isList && len(triple) == 3 && triple[0] == "obfuscated" {
		word, ok1 := asText(triple[1])
		shown, ok2 := asText(triple[2])
		return word, shown, ok1 && ok2
	}
	word, ok = asText(v)
	return word, word, ok
}

// repr returns the command as headers show it.
func (a *shellArgs) repr() string {
	if a.shown == nil {
		return prop.Repr(a.command)
	}
	return wordsRepr(a.shown)
}

func (a *shellArgs) parseLogfiles(r *reader) {
	arg := r.args["logfiles"]
	if arg == nil {
		arg = map[string]any{}
	}
	files, ok := arg.(map[string]any)
	if !ok || len(files) > maxLogfiles {
		r.bad("logfiles", "a map of at most 100 names to paths")
		return
	}
	a.logfileArg = files
	for name, v := range files {
		f := logfile{name: name}
		if m, isMap := v.(map[string]any); isMap {
			f.path, ok = asText(m["filename"])
			f.follow, _ = m["follow"].(bool)
		} else {
			f.path, ok = asText(v)
		}
		if !ok || f.path == "" {
			r.fail(fmt.Errorf("logfiles: %q needs a filename", name))
		}
		if !filepath.IsAbs(f.path) {
			f.path = filepath.Join(a.dir, f.path)
		}
		a.logfiles = append(a.logfiles, f)
	}
	slices.SortFunc(a.logfiles, func(x, y logfile) int { return strings.Compare(x.name, y.name) })
}

// headers says what is about to be run, in the stock worker's order.
func (a *shellArgs) headers(c *command, env map[string]string) {
	var b strings.Builder
	if a.shown == nil {
		b.WriteString(a.command)
	} else {
		b.WriteString(shellQuote(a.shown))
	}
	fmt.Fprintf(&b, "\n in dir %s", a.workdir)
	if a.timeout > 0 {
		fmt.Fprintf(&b, " (timeout %s)", secondsWord(a.timeout))
	}
	if a.maxTime > 0 {
		fmt.Fprintf(&b, " (maxTime %s)", secondsWord(a.maxTime))
	}
	fmt.Fprintf(&b, "\n watching logfiles %s\n argv: %s\n", prop.Repr(a.logfileArg), a.repr())
	if a.logEnviron {
		b.WriteString(" environment:\n")
		for _, kv := range environList(env) {
			fmt.Fprintf(&b, "  %s\n", kv)
		}
	}
	if a.hasStdin {
		fmt.Fprintf(&b, " writing %d bytes to stdin\n", len(a.stdin))
	}
	fmt.Fprintf(&b, " using PTY: %s\n", prop.Repr(a.usePTY))
	c.out.header(b.String())
}
