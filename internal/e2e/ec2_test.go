package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"buildstar/latent/ec2/ec2test"
)

// cloud is an EC2 whose instances are processes of this machine: each runs its user data.
type cloud struct {
	*ec2test.Server
	t     *testing.T
	dir   string
	mu    sync.Mutex
	boots map[string]*exec.Cmd // by id of the instance
	dumb  []string             // workers whose instances never start them
}

func newCloud(t *testing.T, region string) *cloud {
	t.Helper()
	c := &cloud{t: t, dir: t.TempDir(), boots: map[string]*exec.Cmd{}}
	var err error
	if c.Server, err = ec2test.Start(ec2test.Options{Region: region, Keys: map[string]string{"AKIDEXAMPLE": "wJalr"}, OnRun: c.boot, OnEnd: c.halt}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for _, i := range c.Instances(nil) {
			c.halt(i)
		}
	})
	return c
}

func (c *cloud) boot(i ec2test.Instance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.dumb, i.Tags["buildstar.worker"]) {
		return
	}
	dir := filepath.Join(c.dir, i.ID)
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		c.t.Error(err)
	}
	if err := os.Symlink(binary, filepath.Join(bin, "buildstar")); err != nil {
		c.t.Error(err)
	}
	script := filepath.Join(dir, "user-data")
	if err := os.WriteFile(script, []byte(strings.ReplaceAll(i.UserData, "/var/lib/worker", filepath.Join(dir, "worker"))), 0o755); err != nil {
		c.t.Error(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		c.t.Error(err)
		return
	}
	defer log.Close()
	cmd := exec.Command(script)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		c.t.Error(err)
		return
	}
	c.boots[i.ID] = cmd
}

func (c *cloud) halt(i ec2test.Instance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cmd := c.boots[i.ID]; cmd != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()
		delete(c.boots, i.ID)
	}
}

func (c *cloud) setDumb(workers ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dumb = workers
}

// alive are the instances of a worker that are not terminated.
func (c *cloud) alive(worker string) int {
	return len(c.Alive(map[string]string{"buildstar.worker": worker}))
}

// TestEC2Example runs the first example of docs/ec2.md.
func TestEC2Example(t *testing.T) {
	c := newCloud(t, "us-west-2")
	images := map[int]string{}
	for _, n := range []int{9, 10, 1} {
		images[n] = c.AddImage(ec2test.Image{Name: fmt.Sprintf("worker-%d", n)})
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "ec2.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```python\n")
	example, _, _ = strings.Cut(example, "```")
	for from, to := range map[string]string{
		`region = "us-west-2",`: fmt.Sprintf(`region = "us-west-2", endpoint_url = %q, masterFQDN = "127.0.0.1",`, c.URL), "8010": `"tcp:{WEB}:interface=127.0.0.1"`, "9989": `"tcp:{WORKERS}:interface=127.0.0.1"`,
	} {
		if !strings.Contains(example, from) {
			t.Fatalf("the example has no %s", from)
		}
		example = strings.Replace(example, from, to, 1)
	}
	m := newMaster(t, example)
	if err := os.Mkdir(filepath.Join(m.dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"aws-id": "AKIDEXAMPLE", "aws-key": "wJalr"} {
		if err := os.WriteFile(filepath.Join(m.dir, "secrets", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantOutput(t, "", 0, "checkconfig", m.dir)
	if calls := c.Calls(); len(calls) != 0 {
		t.Errorf("checkconfig calls %v", calls)
	}
	wantOutput(t, "permission to run an instance", 0, "doctor", m.dir)
	m.start()
	b := m.finished(m.force(m.builders()["b"], nil))
	checkResult(t, b, 0)
	all := c.Instances(nil)
	if len(all) != 1 || all[0].ImageID != images[10] || all[0].Zone != "us-west-2b" || all[0].Tags["team"] != "tools" {
		t.Fatalf("started %+v", all)
	}
	wantOutput(t, all[0].ID, 0, "instances", "--all", m.dir)
	if status := m.stop(); status != 0 {
		t.Errorf("the master exited with %d", status)
	}
	if left := c.Alive(nil); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// TestEC2Kills kills the master while the instances of six workers are at six points of their
// lives: every request ends as SUCCESS, and the provider has nothing left (D1 pain 2).
func TestEC2Kills(t *testing.T) {
	c := newCloud(t, "us-east-1")
	image := c.AddImage(ec2test.Image{Name: "worker"})
	busy := filepath.Join(t.TempDir(), "busy")
	m := newMaster(t, fmt.Sprintf(`
names = ["ending", "ended", "building", "dumb", "unheard", "asked"]
c = {
    "workers": [worker.EC2LatentWorker(n, None, "m5.large", %q, endpoint_url = %q, identifier = "AKIDEXAMPLE", secret_identifier = "wJalr", build_wait_timeout = 0,
        masterFQDN = "127.0.0.1", user_data = """#!/bin/sh
export BUILDSTAR_PASSWORD=@WORKERPASS@
exec buildstar worker --name @WORKERNAME@ --master @BUILDMASTER_URL@ --basedir /var/lib/worker
""") for n in names],
    "protocols": {"msgpack_experimental_v7": {"port": {WORKERS}}},
    "builders": [util.BuilderConfig(n, workernames = [n], factory = util.BuildFactory([
        steps.ShellCommand(command = "while [ -e %s-" + n + " ]; do sleep 0.1; done; echo built"),
    ])) for n in names],
    "schedulers": [schedulers.ForceScheduler("force", names)],
    "www": {"port": "tcp:{WEB}:interface=127.0.0.1"},
}`, image, c.URL, busy))
	m.start()
	ids := m.builders()
	requests := map[string]int64{}
	force := func(name string) { requests[name] = m.force(ids[name], nil) }
	stuck := func(what string, f ec2test.Fault) {
		before := c.Met()
		f.Times = 1
		c.Inject(f)
		force(what)
		m.waitFor(what, func() bool { return c.Met() > before })
	}
	stuck("ending", ec2test.Fault{Action: "TerminateInstances", Before: time.Hour})
	stuck("ended", ec2test.Fault{Action: "TerminateInstances", Hold: time.Hour})
	m.waitFor("the end of an instance", func() bool { return c.alive("ended") == 0 })
	if err := os.WriteFile(busy+"-building", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	force("building")
	m.waitFor("a build that runs", func() bool { return strings.Contains(m.preparing(requests["building"]), "ready") })
	c.setDumb("dumb", "unheard")
	force("dumb")
	m.waitFor("an instance that does not connect", func() bool { return strings.Contains(m.preparing(requests["dumb"]), "waiting for instance i-") })
	stuck("unheard", ec2test.Fault{Action: "RunInstances", Hold: time.Hour})
	m.waitFor("an instance that nobody heard of", func() bool { return c.alive("unheard") == 1 })
	stuck("asked", ec2test.Fault{Action: "RunInstances", Before: time.Hour})
	m.kill()
	for name, want := range map[string]int{"ending": 1, "ended": 0, "building": 1, "dumb": 1, "unheard": 1, "asked": 0} {
		if n := c.alive(name); n != want {
			t.Errorf("%s has %d instances when the master is killed, want %d", name, n, want)
		}
	}
	c.setDumb()
	if err := os.Remove(busy + "-building"); err != nil {
		t.Fatal(err)
	}
	m.start()
	for name, id := range requests {
		b := m.finished(id)
		checkResult(t, b, 0)
		if n := len(get[build](m, fmt.Sprintf("buildrequests/%d/builds", id), "builds")); name == "building" && n != 1 {
			t.Errorf("the build that ran did not go on: there are %d", n)
		}
	}
	m.waitFor("no instance left", func() bool { return len(c.Alive(nil)) == 0 })
	wantOutput(t, "The ledger knows all that runs.", 0, "instances", "--plan", m.dir)
	if status := m.stop(); status != 0 {
		t.Errorf("the master exited with %d", status)
	}
}
