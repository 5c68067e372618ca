package steps

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"buildstar/engine/run"
)

// masterRig is a rig whose master has a directory.
func masterRig(t *testing.T) *rig {
	r := newRig(t)
	if err := os.MkdirAll(r.base, 0o777); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMasterShellCommandCommand(t *testing.T) {
	r := masterRig(t)
	for command, want := range map[string]string{
		`"echo $((1+1)) a"`: "2 a\n", `["echo", "$((1+1)) a"]`: "$((1+1)) a\n", `["echo", ["a", ["b"]]]`: "a b\n",
		`util.Interpolate("printf %(prop:workername)s")`: "w\n", `"seq 50000 | tail -1; printf x; printf y"`: "50000\nxy\n",
		`["printf", "a\\377b"]`: "a\uFFFDb\n",
	} {
		o := r.run(with("MasterShellCommand", command))
		if o.stdout() != want || o.results() != "MasterShellCommand=success success" {
			t.Errorf("%s: %q, %s", command, o.stdout(), o.results())
		}
	}
	o := r.run(with("MasterShellCommand", `"echo a; echo b >&2; exit 3"`))
	if o.stdout() != "a\n" || o.log("stdio", "e") != "b\n" || !strings.Contains(o.log("stdio", "h"), "exit code 3") || o.results() != "MasterShellCommand=failure failure" {
		t.Errorf("got %q, %q, %s", o.log("stdio", "oe"), o.log("stdio", "h"), o.results())
	}
	o = r.run(with("MasterShellCommand", `"kill -9 $$"`))
	if o.steps[0].StateString != "'kill -9 ...' (killed by SIGKILL) (failure)" {
		t.Errorf("killed: %q", o.steps[0].StateString)
	}
	o = r.run(with("MasterShellCommand", `["/no/such/program"]`))
	if o.results() != "MasterShellCommand=failure failure" || !strings.Contains(o.log("stdio", "h"), "no such file") {
		t.Errorf("no program: %s, %q", o.results(), o.log("stdio", "h"))
	}
}

// All that is printed is in the log, in constant memory.
func TestMasterShellCommandOutput(t *testing.T) {
	o := masterRig(t).run(with("MasterShellCommand", `["sh", "-c", "seq 300000; head -c 3000000 /dev/zero | tr '\\0' x"]`))
	got := o.stdout()
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) < 300_001 || lines[0] != "1" || lines[299_999] != "300000" || strings.Count(got, "x") != 3_000_000 {
		t.Errorf("%d lines, %d bytes", len(lines), len(got))
	}
}

func TestMasterShellCommandWorkdir(t *testing.T) {
	r := masterRig(t)
	put(t, r.master("w", "f"), nil)
	for args, want := range map[string]string{"": r.master(), `, workdir=util.Property("workername")`: r.master("w"), `, workdir="/"`: "/"} {
		if got := r.run(with("MasterShellCommand", `"pwd"`+args)).stdout(); got != want+"\n" {
			t.Errorf("%s: %q", args, got)
		}
	}
	if o := r.run(with("MasterShellCommand", `"pwd", workdir="none"`)); o.results() != "MasterShellCommand=failure failure" {
		t.Errorf("no such directory: %s", o.results())
	}
}

func TestMasterShellCommandEnv(t *testing.T) {
	t.Setenv("OF_MASTER", "master")
	t.Setenv("GOES", "away")
	o := masterRig(t).run(with("MasterShellCommand", `"echo $OF_MASTER $A $B $C ${GOES-gone}",
		env={"A": "<${OF_MASTER}>", "B": ["x", "${NONE}y"], "C": util.Property("workername"), "GOES": None}`))
	if got := o.stdout(); got != "master <master> x:y w gone\n" {
		t.Errorf("got %q", got)
	}
	if o := masterRig(t).run(with("MasterShellCommand", `"true", env=util.Property("x", {"A": 3})`)); o.results() != "MasterShellCommand=exception exception" {
		t.Errorf("a number: %s", o.results())
	}
}

func TestMasterShellCommandLogEnviron(t *testing.T) {
	t.Setenv("OF_MASTER", "secret")
	r := masterRig(t)
	for args, want := range map[string]bool{"": true, ", logEnviron=False": false} {
		h := r.run(with("MasterShellCommand", `"true", env={"A": "b"}`+args)).log("stdio", "h")
		if strings.Contains(h, "A=b") != want || strings.Contains(h, "secret") {
			t.Errorf("%s: %q", args, h)
		}
	}
}

// gone waits until nobody has the file open for writing and returns what it holds.
func gone(t *testing.T, fifo string) string {
	t.Helper()
	data, err := os.ReadFile(fifo)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A stop ends the command and all that it started.
func TestMasterShellCommandStopped(t *testing.T) {
	r := masterRig(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() { read <- gone(t, fifo) }()
	o := r.runWith(with("MasterShellCommand", `"(exec sleep 600 >`+fifo+`) & echo up; sleep 600"`), func(b *run.Build) { b.Stop("enough") })
	if o.results() != "MasterShellCommand=cancelled cancelled" {
		t.Errorf("got %s", o.results())
	}
	<-read // ends when the process in the background has
}

func TestMasterShellCommandInterruptSignal(t *testing.T) {
	r := masterRig(t)
	o := r.runWith(with("MasterShellCommand", `"trap 'echo got it; exit 7' INT; echo up; while :; do sleep 0.05; done", interruptSignal="INT"`),
		func(b *run.Build) { b.Stop("enough") })
	if o.stdout() != "up\ngot it\n" || o.results() != "MasterShellCommand=cancelled cancelled" {
		t.Errorf("got %q, %s", o.stdout(), o.results())
	}
	for signal, want := range map[string]string{"SIGKILL": "interruptSignal", "NONE": "interruptSignal", "": "interruptSignal"} {
		if _, ps := eval(t, `x = steps.MasterShellCommand("true", interruptSignal="`+signal+`")`); len(ps) != 1 || !strings.Contains(ps.Error(), want) {
			t.Errorf("%s: %v", signal, ps)
		}
	}
}
