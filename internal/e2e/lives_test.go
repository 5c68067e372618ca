package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// livesProvider is the provider of the scenarios: an instance is a file in $DIR, which is
// there as long as it exists, and a real worker as its process. Files $DIR/WORKER.x make it
// do x; $DIR/WORKER.journal has what was done.
const livesProvider = `
note() { echo "$1 $HANDLE" >>$DIR/$NAME.journal; }
is() { [ -e $DIR/$NAME.$1 ]; }
case $1 in
start)
    note start
    while is slow; do sleep 0.05; done
    is fail && exit 3
    [ "$IMAGE" = nonsense ] && exit 4
    is broken && exit 6
    echo "$IMAGE" >$DIR/$HANDLE
    is nohandle && exit 5
    if ! is dead; then
        mkdir -p $DIR/base-$HANDLE
        setsid "$BIN" worker -name "$NAME" -master "$URL" -basedir $DIR/base-$HANDLE >$DIR/base-$HANDLE/log 2>&1 &
        echo $! >$DIR/base-$HANDLE/pid
    fi
    while is linger; do sleep 0.05; done
    is failafter && exit 3
    exit 0;;
stop)
    note stop
    while is slowstop; do sleep 0.05; done
    is stuck && exit 3
    is late || { pid=$(cat $DIR/base-$HANDLE/pid 2>/dev/null) && kill -9 -$pid 2>/dev/null; }
    rm -f $DIR/$HANDLE
    note stopped;;
check)
    is checkfails && exit 6
    is sick && exit 3
    exit 0;;
list)
    cd $DIR && ls | grep -E '^x[0-9a-z_]+-[0-9]+$'
    exit 0;;
esac
`

// livesConfig declares a builder and its twin for each scenario.
const livesConfig = `
DIR = "{DIR}"

def call(ctx, what, handle, image = ""):
    return ctx.exec(["sh", DIR + "/provider.sh", what], timeout = 3000, env = {
        "DIR": DIR, "NAME": ctx.worker, "HANDLE": handle, "IMAGE": image, "BIN": ctx.binary,
        "URL": ctx.master or "", "BUILDSTAR_PASSWORD": ctx.password or "",
    })

def start(ctx):
    handle = "%s-%d" % (ctx.worker, ctx.instance)
    r = call(ctx, "start", handle, str(ctx.props["image"]))
    if r.rc == 3:
        fail_to_substantiate("no quota")
    if r.rc == 4:
        cannot_substantiate("there is no such image")
    if r.rc == 5:
        return None
    if r.rc != 0:
        fail("start: " + r.stderr)
    return {"handle": handle, "info": ["instance " + handle]}

def stop(ctx, handle, fast):
    r = call(ctx, "stop", handle or "%s-%d" % (ctx.worker, ctx.instance))
    if r.rc != 0:
        fail_to_substantiate("the provider is down")

def check(ctx, handle):
    r = call(ctx, "check", handle)
    if r.rc == 6:
        fail("nobody knows")
    return r.rc == 0, "the instance is dead"

def fits(ctx, handle, props):
    return ctx.exec(["cat", DIR + "/" + handle]).stdout.strip() == str(props["image"])

def instances(ctx):
    return call(ctx, "list", "").stdout.split()

def vm(name, build_wait_timeout = 1, **kwargs):
    return worker.LatentWorker(name, None, start_instance = start, stop_instance = stop, check_instance = check, is_compatible_with_build = fits,
        list_instances = instances, check_instance_interval = 0.2, build_wait_timeout = build_wait_timeout, **kwargs)

c = {"workers": [worker.LocalWorker("always")], "resume_timeout": {RESUME}}
c["builders"] = [util.BuilderConfig(name = "always", workernames = ["always"], factory = util.BuildFactory([]))]
work = util.BuildFactory([steps.ShellCommand(command = util.Interpolate("while [ -e {DIR}/%(prop:buildername)s.busy ]; do sleep 0.05; done; echo built %(prop:image)s"))])

def scenario(name, workers, **kwargs):
    c["workers"] += [vm(w, **kwargs) for w in workers]
    c["builders"] += [util.BuilderConfig(name = n, workernames = workers, factory = work, defaultProperties = {"image": "a"}) for n in [name, name + "_twin"]]

{SCENARIOS}
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = [b.name for b in c["builders"]], properties = [util.StringParameter("image", default = "a")])]
{MORE}
`

// lives is a master for scenarios.
type lives struct {
	*master
	dir string // of the provider

	mu     sync.Mutex
	lines  map[string]string // of the scenarios that are configured, by name
	resume string
	more   string
}

func newLives(t *testing.T, resume, more string) *lives {
	t.Helper()
	s := &lives{dir: t.TempDir(), lines: map[string]string{}, resume: resume, more: more}
	if err := os.WriteFile(filepath.Join(s.dir, "provider.sh"), []byte(livesProvider), 0o600); err != nil {
		t.Fatal(err)
	}
	s.master = &master{t: t, dir: t.TempDir(), web: freePort(t), workers: freePort(t), log: &lockedBuffer{}}
	t.Cleanup(func() { // what a failure leaves
		for _, pid := range s.processes("x") {
			syscall.Kill(-pid, syscall.SIGKILL)
		}
	})
	return s
}

// write writes master.star.
func (s *lives) write() {
	s.t.Helper()
	var names []string
	for name := range s.lines {
		names = append(names, name)
	}
	slices.Sort(names)
	var text strings.Builder
	for _, name := range names {
		fmt.Fprintln(&text, s.lines[name])
	}
	r := strings.NewReplacer("{RESUME}", s.resume, "{SCENARIOS}", text.String(), "{MORE}", s.more)
	s.configure(strings.ReplaceAll(r.Replace(livesConfig), "{DIR}", s.dir))
}

// change changes the scenarios that are configured, and reloads.
func (s *lives) change(fn func(lines map[string]string)) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(s.lines)
	s.write()
	wantOutput(s.t, "", 0, "reconfig", s.master.dir)
}

// life is one scenario: a builder, its twin, and their workers.
type life struct {
	*lives
	*master
	name    string
	workers []string
	wire    *wire // between them and the master; nil: none
	killed  bool  // the master was killed during a stop, which went on
}

// add declares a scenario with a number of workers.
func (s *lives) add(name string, workers int, options string) *life {
	l := &life{lives: s, master: s.master, name: name}
	var quoted []string
	for i := range workers {
		l.workers = append(l.workers, fmt.Sprintf("%sw%d", name, i+1))
		quoted = append(quoted, strconv.Quote(l.workers[i]))
	}
	if options != "" {
		options = ", " + options
	}
	s.lines[name] = fmt.Sprintf("scenario(%q, [%s]%s)", name, strings.Join(quoted, ", "), options)
	return l
}

// in returns the scenario for a subtest.
func (l *life) in(t *testing.T) *life {
	n := *l
	n.master = l.master.in(t)
	return &n
}

// wait polls slowly: many do at once.
func (l *life) wait(what string, ok func() bool) {
	l.t.Helper()
	late := time.After(5 * time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			l.t.Fatalf("after five minutes still not: %s\n%s", what, l.journals())
		}
	}
}

// force asks for a build; twin is on the other builder.
func (l *life) force(image string, twin ...bool) int64 {
	l.t.Helper()
	name := l.name
	if len(twin) > 0 {
		name += "_twin"
	}
	return l.forceImage(name, image)
}

// set and unset make the provider do something for a worker, or a builder be busy.
func (l *life) set(who, what string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.lives.dir, who+"."+what), nil, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) unset(who, what string) {
	l.t.Helper()
	if err := os.Remove(filepath.Join(l.lives.dir, who+"."+what)); err != nil {
		l.t.Fatal(err)
	}
}

// done waits until a request is complete and checks the result of its last build.
func (l *life) done(request int64, result int) build {
	l.t.Helper()
	l.wait(fmt.Sprintf("request %d complete", request), func() bool { return l.complete(request) })
	b := l.finished(request)
	if *b.Results != result {
		l.t.Errorf("request %d ended with %d, want %d: %s", request, *b.Results, result, b.StateString)
	}
	return b
}

// newest is the newest build of a request.
func (l *life) newest(request int64) (b build, ok bool) {
	l.t.Helper()
	builds := get[build](l.master, fmt.Sprintf("buildrequests/%d/builds", request), "builds")
	if len(builds) == 0 {
		return b, false
	}
	return builds[len(builds)-1], true
}

// tried waits until a build of a request ended RETRY, and the state string says why.
func (l *life) tried(request int64, why string) {
	l.t.Helper()
	l.wait("a lost build: "+why, func() bool {
		for _, b := range get[build](l.master, fmt.Sprintf("buildrequests/%d/builds", request), "builds") {
			if b.Results != nil && *b.Results == 5 && strings.Contains(b.StateString, why) {
				return true
			}
		}
		return false
	})
}

// phase waits until the newest build of a request says something in its preparation.
func (l *life) phase(request int64, text string) {
	l.t.Helper()
	l.wait(fmt.Sprintf("request %d: %s", request, text), func() bool { return strings.Contains(l.preparing(request), text) })
}

// why waits until the explanation of a request says something.
func (l *life) why(request int64, text string) {
	l.t.Helper()
	type explanation struct{ Reasons []struct{ Text string } }
	l.wait(fmt.Sprintf("request %d waits because %s", request, text), func() bool {
		x := one[explanation](l.master, fmt.Sprintf("buildrequests/%d/explain", request), "explanations")
		for _, r := range x.Reasons {
			if strings.Contains(r.Text, text) {
				return true
			}
		}
		return false
	})
}

func (l *life) stopBuild(request int64) {
	l.t.Helper()
	b, ok := l.newest(request)
	if !ok {
		l.t.Fatalf("request %d has no build to stop", request)
	}
	l.post(fmt.Sprintf("builds/%d", b.ID), "stop", nil, nil)
}

// stopRequest ends a request, with its build if there is one.
func (l *life) stopRequest(request int64) {
	l.t.Helper()
	l.post(fmt.Sprintf("buildrequests/%d", request), "cancel", nil, nil)
	l.wait(fmt.Sprintf("request %d complete", request), func() bool { return l.complete(request) })
}

func (l *life) complete(id int64) bool {
	return one[request](l.master, fmt.Sprintf("buildrequests/%d", id), "buildrequests").Complete
}

// built waits until a request is built, with this image.
func (l *life) built(request int64, image string) {
	l.t.Helper()
	b := l.done(request, 0)
	if out := l.stdio(b.ID, 1); !strings.Contains(out, "built "+image+"\n") {
		l.t.Errorf("want %s built: %s", image, out)
	}
}

// forgive ends the quarantine of a worker.
func (l *life) forgive(worker string) {
	l.t.Helper()
	l.post("workers/"+worker, "unpause", nil, nil)
}

// journal is what the provider did for a worker, a line each: "start x1w1-3".
func (s *lives) journal(worker string) []string {
	text, _ := os.ReadFile(filepath.Join(s.dir, worker+".journal")) // it is not there at first
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}

func (l *life) journals() (text string) {
	for _, w := range l.workers {
		text += w + ": " + strings.Join(l.journal(w), ", ") + "\n"
	}
	return text
}

// count is how often the provider did something for a worker.
func (s *lives) count(worker, what string) (n int) {
	for _, line := range s.journal(worker) {
		if strings.HasPrefix(line, what+" ") {
			n++
		}
	}
	return n
}

// did waits until the provider did something for a worker n times.
func (l *life) did(worker, what string, n int) {
	l.t.Helper()
	l.wait(fmt.Sprintf("%d x %s of %s", n, what, worker), func() bool { return l.count(worker, what) >= n })
}

// exists are the instances of a worker, or of all whose names begin so.
func (s *lives) exists(worker string) []string {
	files, _ := filepath.Glob(filepath.Join(s.dir, worker+"*-[0-9]*"))
	return files
}

// processes are those of the instances of a worker, or of all whose names begin so.
func (s *lives) processes(worker string) (pids []int) {
	files, _ := filepath.Glob(filepath.Join(s.dir, "base-"+worker+"*-[0-9]*", "pid"))
	for _, name := range files {
		text, _ := os.ReadFile(name)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && syscall.Kill(-pid, 0) == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// over ends a scenario: its workers may leave the configuration; then there is no instance,
// no process and no request left but those, the ledger is closed, each start had its stop,
// and no two instances of a worker were there at once.
func (l *life) over(retire bool, but ...int64) {
	l.t.Helper()
	ids := l.builders()
	if retire {
		l.change(func(lines map[string]string) { delete(lines, l.name) })
	}
	l.wait("no instance, no process", func() bool { return len(l.exists(l.name+"w")) == 0 && len(l.processes(l.name+"w")) == 0 })
	for _, w := range l.workers {
		type row struct{ State, Handle string }
		l.wait("the ledger of "+w+" is closed", func() bool { return len(get[row](l.master, "instances?state__ne=gone&worker="+w, "instances")) == 0 })
		l.checkJournal(w)
	}
	for _, name := range []string{l.name, l.name + "_twin"} {
		if left := get[request](l.master, fmt.Sprintf("builders/%d/buildrequests?complete=false", ids[name]), "buildrequests"); slices.ContainsFunc(left, func(r request) bool { return !slices.Contains(but, r.BuildRequestID) }) {
			l.t.Errorf("%s: requests left: %+v", name, left)
		}
	}
}

func (l *life) checkJournal(worker string) {
	l.t.Helper()
	open := ""
	for _, line := range l.journal(worker) {
		what, handle, _ := strings.Cut(line, " ")
		switch {
		case what == "start" && open != "":
			l.t.Errorf("%s started while %s was there; %s", handle, open, l.journals())
		case what == "start":
			open = handle
		case what == "stopped" && handle == open:
			open = ""
		case what == "stopped" && !l.killed:
			l.t.Errorf("%s stopped twice, or never started; %s", handle, l.journals())
		}
	}
	if open != "" {
		l.t.Errorf("%s was never stopped; %s", open, l.journals())
	}
}

// wired puts a network between the master and the workers of a scenario.
func (s *lives) wired() (*wire, string) {
	m := *s.master
	w := m.newWire()
	return w, fmt.Sprintf("masterFQDN = %q", net.JoinHostPort("127.0.0.1", strconv.Itoa(m.workers)))
}
