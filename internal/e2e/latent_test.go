package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// latentConfig has workers whose instances are processes on this machine. The provider is
// a directory: a file for each instance, which is there as long as it exists. {DIR}/fail,
// {DIR}/stuck and {DIR}/slow make starts fail, stops fail and starts wait.
const latentConfig = `
DIR = "{DIR}"

def start(ctx):
    ctx.log("starting for " + str(ctx.props["image"]))
    for n in range(1000):
        if ctx.exec(["test", "-e", DIR + "/slow"]).rc != 0:
            break
        ctx.sleep(0.1)
    if ctx.exec(["test", "-e", DIR + "/fail"]).rc == 0:
        fail_to_substantiate("no quota")
    if ctx.props["image"] == "nonsense":
        cannot_substantiate("there is no image nonsense")
    handle = "%s-%d" % (ctx.worker, ctx.instance)
    r = ctx.exec(["sh", "-c", '''
        echo "$IMAGE" >$DIR/$HANDLE
        [ -e $DIR/dead ] && exit
        mkdir -p $DIR/base-$HANDLE
        setsid "$BIN" worker -name "$NAME" -master "$URL" -basedir $DIR/base-$HANDLE >$DIR/log-$HANDLE 2>&1 & echo $! >$DIR/base-$HANDLE/pid
    '''], env = {"DIR": DIR, "HANDLE": handle, "IMAGE": str(ctx.props["image"]), "BIN": ctx.binary, "NAME": ctx.worker, "URL": ctx.master, "BUILDSTAR_PASSWORD": ctx.password})
    if r.rc != 0:
        fail_to_substantiate(r.stderr)
    return {"handle": handle, "info": ["instance " + handle]}

def stop(ctx, handle, fast):
    if ctx.exec(["test", "-e", DIR + "/stuck"]).rc == 0:
        fail_to_substantiate("the provider is down")
    handle = "%s-%d" % (ctx.worker, ctx.instance) if ctx.instance else handle
    r = ctx.exec(["sh", "-c", '''
        pid=$(cat $DIR/base-$HANDLE/pid 2>/dev/null) && kill -9 -$pid 2>/dev/null
        rm -f $DIR/$HANDLE
    '''], env = {"DIR": DIR, "HANDLE": handle})
    if r.rc != 0:
        fail_to_substantiate(r.stderr)

def check(ctx, handle):
    return ctx.exec(["test", "-e", DIR + "/dead"]).rc != 0, "the instance is dead"

def fits(ctx, handle, props):
    return ctx.exec(["cat", DIR + "/" + handle]).stdout.strip() == str(props["image"])

def instances(ctx):
    return ctx.exec(["sh", "-c", "cd $DIR && ls | grep -E '^w[0-9]+-[0-9]+$'"], env = {"DIR": DIR}).stdout.split()

c = {}
c["workers"] = [worker.LatentWorker(n, None, start_instance = start, stop_instance = stop, check_instance = check,
    is_compatible_with_build = fits, list_instances = instances, check_instance_interval = 0.2, build_wait_timeout = {WAIT}) for n in [{NAMES}]]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
work = util.BuildFactory([steps.ShellCommand(command = util.Interpolate("while [ -e {DIR}/busy ]; do sleep 0.1; done; echo built %(prop:image)s"))])
c["builders"] = [util.BuilderConfig(name = n, workernames = [w.name for w in c["workers"]], factory = work, defaultProperties = {"image": "a"}) for n in ["b", "other"]]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["b", "other"], properties = [util.StringParameter("image", default = "a")])]
`

// provider is the directory of the instances.
type provider struct{ m *master }

func newLatent(t *testing.T, wait string, names ...string) (*master, provider) {
	dir := t.TempDir()
	var quoted []string
	for _, n := range names {
		quoted = append(quoted, fmt.Sprintf("%q", n))
	}
	m := newMaster(t, strings.NewReplacer("{DIR}", dir, "{WAIT}", wait, "{NAMES}", strings.Join(quoted, ", ")).Replace(latentConfig))
	p := provider{m}
	p.set("dir", dir)
	t.Cleanup(func() { // what a test leaves running on purpose
		for _, pid := range p.processes() {
			syscall.Kill(-pid, syscall.SIGKILL)
		}
	})
	return m, p
}

// set makes a file of the provider; path is it.
func (p provider) set(name, text string) {
	p.m.t.Helper()
	dir := p.m.dir
	if name == "dir" {
		if err := os.WriteFile(filepath.Join(dir, "provider"), []byte(text), 0o600); err != nil {
			p.m.t.Fatal(err)
		}
		return
	}
	if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
		p.m.t.Fatal(err)
	}
}

func (p provider) path(name string) string {
	dir, err := os.ReadFile(filepath.Join(p.m.dir, "provider"))
	if err != nil {
		p.m.t.Fatal(err)
	}
	return filepath.Join(string(dir), name)
}

func (p provider) unset(name string) {
	p.m.t.Helper()
	if err := os.Remove(p.path(name)); err != nil {
		p.m.t.Fatal(err)
	}
}

// instances are those that exist.
func (p provider) instances() []string {
	files, err := filepath.Glob(p.path("w[0-9]*-[0-9]*"))
	if err != nil {
		p.m.t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	return files
}

func (p provider) none() {
	p.m.t.Helper()
	p.m.waitFor("no instance left", func() bool { return len(p.instances()) == 0 && len(p.processes()) == 0 })
}

// processes are those of instances that run.
func (p provider) processes() (pids []int) {
	files, err := filepath.Glob(p.path("base-*/pid"))
	if err != nil {
		p.m.t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil && syscall.Kill(-pid, 0) == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (p provider) there(want ...string) {
	p.m.t.Helper()
	p.m.waitFor("the instances "+strings.Join(want, ", "), func() bool { return strings.Join(p.instances(), " ") == strings.Join(want, " ") })
}

func (m *master) forceImage(builder, image string) int64 {
	return m.force(m.builders()[builder], map[string]any{"image": image})
}

// preparing is what step 0 of the newest build of a request says; "" before there is one.
func (m *master) preparing(request int64) string {
	builds := get[build](m, fmt.Sprintf("buildrequests/%d/builds", request), "builds")
	if len(builds) == 0 {
		return ""
	}
	steps, err := tryGet[step](m, fmt.Sprintf("builds/%d/steps", builds[len(builds)-1].ID), "steps")
	if err != nil || len(steps) == 0 {
		return ""
	}
	return steps[0].StateString
}

// explain is why a request waits.
func (m *master) explain(request int64) string {
	out, _ := buildstar(m.t, "explain", fmt.Sprint(request), m.dir)
	return out
}

// An instance is started for a build, says so in its first step, serves the next one, and
// is gone after build_wait_timeout; at the end of the master at once.
func TestLatentLife(t *testing.T) {
	m, p := newLatent(t, "2", "w1")
	m.start()
	b := m.finished(m.forceImage("b", "a"))
	if *b.Results != 0 || !strings.Contains(m.stdio(b.ID, 1), "built a") {
		t.Errorf("the build ended with %d: %s", *b.Results, b.StateString)
	}
	steps := get[step](m, fmt.Sprintf("builds/%d/steps", b.ID), "steps")
	if want := "worker w1 ready: instance w1-1"; steps[0].StateString != want {
		t.Errorf("step 0 says %q, want %q", steps[0].StateString, want)
	}
	log := one[logRow](m, fmt.Sprintf("builds/%d/steps/0/logs/start", b.ID), "logs")
	if got := m.raw(log.LogID); !strings.Contains(got, "starting for a") {
		t.Errorf("the log of the start is %q", got)
	}
	m.finished(m.forceImage("other", "a"))
	p.there("w1-1")
	wantOutput(t, "w1-1", 0, "instances", m.dir)
	p.set("w1-77", "stray")
	wantOutput(t, "script instance w1-77: would be stopped", 0, "instances", "--plan", m.dir)
	wantOutput(t, "script instance w1-77: stopped", 0, "instances", "--reap", m.dir)
	wantOutput(t, "The ledger knows all that runs.", 0, "instances", "--plan", m.dir)
	p.none()
	wantOutput(t, "gone", 0, "instances", "--all", m.dir)
	m.finished(m.forceImage("b", "a"))
	p.there("w1-2")
	if status := m.stop(); status != 0 {
		t.Errorf("stop: exit status %d", status)
	}
	if left := p.instances(); len(left) != 0 {
		t.Errorf("left after the master: %v", left)
	}
}

// An instance that serves another image is replaced, and no build runs on a wrong one.
func TestLatentReplaced(t *testing.T) {
	m, p := newLatent(t, "600", "w1")
	m.start()
	m.finished(m.forceImage("b", "a"))
	p.there("w1-1")
	if b := m.finished(m.forceImage("b", "x")); *b.Results != 0 {
		t.Errorf("ended with %d: %s", *b.Results, b.StateString)
	}
	p.there("w1-2")
	p.set("busy", "")
	first := m.forceImage("b", "x")
	m.waitFor("the first build runs", func() bool { return strings.Contains(m.preparing(first), "ready") })
	second := m.forceImage("other", "a")
	m.waitFor("the second waits for another instance", func() bool {
		return strings.Contains(m.explain(second), "on an instance that does not serve this build")
	})
	p.unset("busy")
	m.finished(first)
	if b := m.finished(second); *b.Results != 0 || !strings.Contains(m.stdio(b.ID, 1), "built a") {
		t.Errorf("ended with %d: %s", *b.Results, b.StateString)
	}
	p.there("w1-3")
}

// A start that fails sends the request elsewhere and the worker into quarantine; one that
// the build is to blame for ends that build, and nothing else.
func TestLatentFailures(t *testing.T) {
	m, p := newLatent(t, "600", "w1")
	m.start()
	b := m.finished(m.forceImage("b", "nonsense"))
	if *b.Results != 4 || !strings.Contains(b.StateString, "there is no image nonsense") {
		t.Errorf("ended with %d: %s", *b.Results, b.StateString)
	}
	p.none()
	p.set("fail", "")
	request := m.forceImage("b", "a")
	m.waitFor("a lost build", func() bool {
		builds := get[build](m, fmt.Sprintf("buildrequests/%d/builds", request), "builds")
		return len(builds) > 0 && builds[0].Results != nil && *builds[0].Results == 5 && strings.Contains(builds[0].StateString, "no quota")
	})
	m.waitFor("a quarantine that says why", func() bool {
		return strings.Contains(m.explain(request), "quarantine") && strings.Contains(m.explain(request), "no quota")
	})
	p.unset("fail")
	if b := m.finished(request); *b.Results != 0 {
		t.Errorf("ended with %d: %s", *b.Results, b.StateString)
	}
}

// check_instance notices what missing_timeout would wait 20 minutes for.
func TestLatentChecked(t *testing.T) {
	m, p := newLatent(t, "600", "w1")
	p.set("dead", "")
	m.start()
	request := m.forceImage("b", "a")
	m.waitFor("a lost build", func() bool {
		builds := get[build](m, fmt.Sprintf("buildrequests/%d/builds", request), "builds")
		return len(builds) > 0 && builds[0].Results != nil && strings.Contains(builds[0].StateString, "the instance is dead")
	})
	p.none()
}

// A build can be stopped during the start, and takes the instance with it; a stop that
// fails is tried again.
func TestLatentStopped(t *testing.T) {
	m, p := newLatent(t, "600", "w1")
	p.set("slow", "")
	m.start()
	request := m.forceImage("b", "a")
	m.waitFor("the start", func() bool { return strings.Contains(m.preparing(request), "starting an instance (until ") })
	builds := get[build](m, fmt.Sprintf("buildrequests/%d/builds", request), "builds")
	p.set("stuck", "")
	m.post(fmt.Sprintf("builds/%d", builds[0].ID), "stop", nil, nil)
	if b := m.finished(request); *b.Results != 6 {
		t.Errorf("ended with %d: %s", *b.Results, b.StateString)
	}
	p.unset("slow")
	next := m.forceImage("b", "a")
	m.waitFor("the reason", func() bool {
		return strings.Contains(m.explain(next), "cannot be stopped") || strings.Contains(m.explain(next), "quarantine")
	})
	p.unset("stuck")
	if b := m.finished(next); *b.Results != 0 {
		t.Errorf("ended with %d: %s", *b.Results, b.StateString)
	}
}

// kill -9 of the master at any time loses no instance: the next one goes on with the build
// of one that is up, and stops what was being started.
func TestLatentMasterKilled(t *testing.T) {
	m, p := newLatent(t, "2", "w1", "w2")
	p.set("busy", "")
	m.start()
	first := m.forceImage("b", "a")
	m.waitFor("the first build runs", func() bool { return strings.Contains(m.preparing(first), "ready") })
	p.set("slow", "")
	second := m.forceImage("b", "a")
	m.waitFor("a second start", func() bool { return strings.Contains(m.preparing(second), "starting an instance") })
	m.kill()
	p.set("w1-77", "stray") // as if the row had been lost
	p.unset("slow")
	p.unset("busy")
	m.start()
	for _, r := range []int64{first, second} {
		if b := m.finished(r); *b.Results != 0 {
			t.Errorf("request %d ended with %d: %s", r, *b.Results, b.StateString)
		}
	}
	if builds := get[build](m, fmt.Sprintf("buildrequests/%d/builds", first), "builds"); len(builds) != 1 {
		t.Errorf("the first build did not go on: %d builds", len(builds))
	}
	p.none()
}

// A worker that leaves the configuration takes its instance with it, and is started again
// when it is back.
func TestLatentReload(t *testing.T) {
	m, p := newLatent(t, "600", "w1", "w2")
	m.start()
	m.finished(m.forceImage("b", "a"))
	p.there("w1-1")
	file := filepath.Join(m.dir, "master.star")
	with, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		wantOutput(t, "", 0, "reconfig", m.dir)
	}
	reload(strings.Replace(string(with), `"w1", "w2"`, `"w2"`, 1))
	p.none()
	reload(string(with))
	if b := m.finished(m.forceImage("b", "a")); *b.Results != 0 {
		t.Errorf("ended with %d: %s", *b.Results, b.StateString)
	}

	// It leaves while it is being started: the build goes to another one at once.
	reload(strings.Replace(string(with), `"w1", "w2"`, `"w1"`, 1))
	m.waitFor("one worker left", func() bool { return len(p.instances()) <= 1 })
	m.finished(m.forceImage("b", "b")) // whichever instance there was is replaced
	p.set("slow", "")
	request := m.forceImage("b", "c")
	m.waitFor("the start", func() bool { return strings.Contains(m.preparing(request), "starting an instance (until ") })
	reload(strings.Replace(string(with), `"w1", "w2"`, `"w2"`, 1))
	p.unset("slow")
	b := m.finished(request)
	if *b.Results != 0 {
		t.Errorf("ended with %d: %s", *b.Results, b.StateString)
	}
	m.waitFor("no instance of the other", func() bool {
		for _, i := range p.instances() {
			if strings.HasPrefix(i, "w1-") {
				return false
			}
		}
		return true
	})
}
