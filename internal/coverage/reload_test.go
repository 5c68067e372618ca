package coverage

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/engine"
	"buildstar/internal/tlstest"
	"buildstar/starlark"
	"buildstar/starlark/call"
	"buildstar/starlark/spec"
	"buildstar/state/logfile"
	"buildstar/state/sqlite"
)

var reloadRow = regexp.MustCompile(`^\| ([a-z]+\.[\w.*]+) \| ([a-z ]+) \| (.+) \|$`)

// master is an engine that loads a file.
type master struct {
	*engine.Master
	file string
}

func startMaster(t *testing.T) *master {
	t.Helper()
	dir := t.TempDir()
	m := &master{file: filepath.Join(dir, "master.star")}
	quiet := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(t.Context(), filepath.Join(dir, "state.sqlite"), sqlite.Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	logs, err := logfile.Open(filepath.Join(dir, "logs"), logfile.Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { logs.Close() })
	tlstest.Write(t, dir)
	for _, name := range []string{"secrets", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	m.write(t, configure(nil))
	m.Master = engine.New(engine.Options{
		Basedir: dir, Store: store, Logs: logs, Logger: quiet,
		Load: func(ctx context.Context) (*config.Snapshot, error) {
			s, _, err := starlark.Load(ctx, m.file, starlark.Options{Modules: modules, Function: call.Renderable})
			return s, err
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	select {
	case <-m.Ready():
	case <-ended:
		t.FailNow()
	}
	return m
}

func (m *master) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(m.file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// reload puts a configuration in force and returns what changed.
func (m *master) reload(t *testing.T, text string) (engine.Reloaded, bool) {
	t.Helper()
	m.write(t, text)
	done, err := m.Reload(t.Context())
	if err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	return done, err == nil
}

// configure writes master.star; slots are what differs from the plain one.
func configure(slots map[string]string) string {
	s := map[string]string{
		"worker": `worker.LocalWorker("w")`, "steps": `[]`, "factory": "", "builder": "", "properties": `{}`, "locks": `[]`,
		"project": `util.Project("p")`, "parameters": `[]`, "codebases": `None`, "username": `None`, "scheduler": "", "keys": "",
	}
	maps.Copy(s, slots)
	if s["factory"] == "" {
		s["factory"] = "util.BuildFactory(" + s["steps"] + ")"
	}
	if s["builder"] == "" {
		s["builder"] = fmt.Sprintf(`util.BuilderConfig(name = "b", workernames = ["spare"], factory = %s, properties = %s, locks = %s)`,
			s["factory"], s["properties"], s["locks"])
	}
	if s["scheduler"] == "" {
		s["scheduler"] = `schedulers.ForceScheduler(name = "f", builderNames = ["every"]`
		if s["codebases"] != "None" {
			s["scheduler"] += ", codebases = " + s["codebases"]
		}
		if s["username"] != "None" {
			s["scheduler"] += ", username = " + s["username"]
		}
		s["scheduler"] += ", properties = " + s["parameters"] + ")"
	}
	return fmt.Sprintf(`c = {}
c["workers"] = [%s, worker.LocalWorker("spare"), worker.LocalWorker("other")]
c["projects"] = [%s, util.Project("other", slug = "slug-of-other")]
c["builders"] = [%s, %s, util.BuilderConfig(name = "every", workernames = [w.name for w in c["workers"]], factory = util.BuildFactory([]))]
c["schedulers"] = [%s, schedulers.ForceScheduler(name = "all", builderNames = [b.name for b in c["builders"]]),
    schedulers.ForceScheduler(name = "rest", builderNames = ["every"])]
%s
`, s["worker"], s["project"], s["builder"], long, s["scheduler"], s["keys"])
}

// place returns the configuration in which a call stands where its class belongs.
func place(class, expr string) string {
	switch kind, name, _ := strings.Cut(class, "."); {
	case class == "worker.Machine":
		return configure(map[string]string{"keys": `c["machines"] = [` + expr + "]"})
	case kind == "worker":
		return configure(map[string]string{"worker": expr,
			"keys": `c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:0:interface=127.0.0.1"}}` + "\n" +
				`c["machines"] = [worker.Machine("other")]`})
	case name == "WorkerMissingGenerator":
		return place("reporters.MailNotifier", `reporters.MailNotifier("ci@example.com", generators = [`+expr+`])`)
	case kind == "reporters":
		return configure(map[string]string{"keys": `c["services"] = [` + expr + "]"})
	case kind == "secrets":
		return configure(map[string]string{"keys": `c["secretsProviders"] = [` + expr + "]"})
	case kind == "steps":
		return configure(map[string]string{"steps": "[" + expr + "]"})
	case kind == "changes":
		return configure(map[string]string{"keys": `c["change_source"] = [` + expr + `]`})
	case kind == "schedulers":
		return configure(map[string]string{"scheduler": expr})
	case name == "BuilderConfig":
		return configure(map[string]string{"builder": expr})
	case name == "GitCredentialOptions":
		return place("changes.GitPoller", `changes.GitPoller("r", git_credentials = `+expr+`)`)
	case name == "GitCredentialInputRenderer":
		return place("util.GitCredentialOptions", `util.GitCredentialOptions(credentials = [`+expr+`])`)
	case name == "BuildFactory":
		return configure(map[string]string{"factory": expr})
	case name == "Project":
		return configure(map[string]string{"project": expr})
	case name == "Connection":
		return place("worker.LibVirtWorker", `worker.LibVirtWorker("w", None, `+expr+`)`)
	case name == "InstanceCap":
		return place("worker.LatentWorker", `worker.LatentWorker("w", None, start_instance = lambda ctx: "h", stop_instance = lambda ctx, handle, fast: None, caps = [`+expr+`])`)
	case name == "MasterLock" || name == "WorkerLock":
		if !strings.Contains(expr, ".access(") {
			expr += `.access("counting")`
		}
		return configure(map[string]string{"locks": "[" + expr + "]"})
	case name == "CodebaseParameter":
		return configure(map[string]string{"codebases": "[" + expr + "]"})
	case name == "ChangeFilter":
		return configure(map[string]string{"scheduler": `schedulers.SingleBranchScheduler("s", builderNames = ["every"], change_filter = ` + expr + `)`})
	case name == "UserNameParameter" && strings.Contains(expr, "multiple"): // username takes one text
		return configure(map[string]string{"username": `util.StringParameter("who")`, "parameters": "[" + expr + "]"})
	case name == "RevlinkMatch":
		return configure(map[string]string{"keys": `c["revlink"] = ` + expr})
	case name == "ShellArg":
		return configure(map[string]string{"steps": "[steps.ShellSequence(commands = [" + expr + "])]"})
	case name == "UserNameParameter":
		return configure(map[string]string{"username": expr})
	case strings.HasSuffix(name, "Parameter"):
		return configure(map[string]string{"parameters": "[" + expr + "]"})
	}
	return configure(map[string]string{"properties": `{"x": ` + expr + `}`})
}

// reloadValues are values for which the plain configuration would have a problem, and
// those of arguments without a name.
var reloadValues = map[string]string{
	"worker.Worker.name":                            `"renamed"`,
	"worker.DockerLatentWorker.name":                `"renamed"`,
	"worker.OpenStackLatentWorker.name":             `"renamed"`,
	"worker.EC2LatentWorker.name":                   `"renamed"`,
	"worker.LatentWorker.name":                      `"renamed"`,
	"worker.LibVirtWorker.name":                     `"renamed"`,
	"worker.LocalWorker.name":                       `"renamed"`,
	"util.Project.name":                             `"renamed"`,
	"util.BuilderConfig.name":                       `"renamed"`,
	"schedulers.ForceScheduler.builderNames":        `["every"]`,
	"schedulers.ForceScheduler.codebases":           `["other"]`,
	"schedulers.Triggerable.builderNames":           `["every"]`,
	"util.FlattenList.nestedlist":                   `[["other"]]`,
	"schedulers.SingleBranchScheduler.builderNames": `["b"]`,
	"schedulers.AnyBranchScheduler.builderNames":    `["b"]`,
	"schedulers.Dependent.builderNames":             `["b"]`,
	"schedulers.Periodic.builderNames":              `["b"]`,
	"schedulers.NightlyTriggerable.builderNames":    `["b"]`,
	"schedulers.Nightly.builderNames":               `["b"]`,
}

// bare writes a call.
func bare(class string, args map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(args)) {
		list = append(list, name+" = "+args[name])
	}
	return class + "(" + strings.Join(list, ", ") + ")"
}

func with(args map[string]string, name, value string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, args)
	all[name] = value
	return all
}

// written returns a call before and after an argument changed.
func written(c *spec.Class, p spec.Param) (before, after string) {
	full := c.Full()
	args := required[full]
	if full == "util.Transform" && strings.HasPrefix(p.Name, "*") {
		args = map[string]string{"function": "lambda *args, **kwargs: 1"}
	}
	before = bare(full, args)
	switch p.Name {
	case "*args":
		first := slices.Collect(maps.Values(args))[0]
		if full == "util.Interpolate" {
			return full + `("%s", "a")`, full + `("%s", "b")`
		}
		return full + `(` + first + `, "a")`, full + `(` + first + `, "b")`
	case "**kwargs":
		first := slices.Collect(maps.Values(args))[0]
		if full == "util.Interpolate" {
			return full + `("%(kw:k)s", k = "a")`, full + `("%(kw:k)s", k = "b")`
		}
		return full + `(` + first + `, k = "a")`, full + `(` + first + `, k = "b")`
	}
	v, ok := reloadValues[full+"."+p.Name]
	if !ok {
		v, ok = values[full+"."+p.Name]
	}
	if !ok {
		v, ok = values["*."+p.Name]
	}
	if !ok {
		v = other(p)
	}
	changed := with(args, p.Name, v)
	delete(changed, instead[full+"."+p.Name])
	if p.Name == "multiple" {
		before = bare(full, with(args, "multiple", "False"))
	}
	if p.Name == "workername" {
		delete(changed, "workernames")
	}
	return before, bare(full, changed)
}

// method returns a call of a method before and after its argument changed.
func method(c *spec.Class, name string, p spec.Param) (before, after string) {
	base := bare(c.Full(), required[c.Full()])
	switch c.Full() + "." + name + "." + p.Name {
	case "util.MasterLock.access.mode", "util.WorkerLock.access.mode":
		return base + `.access("counting")`, base + `.access("exclusive")`
	case "util.MasterLock.access.count", "util.WorkerLock.access.count":
		return base + `.access("counting", count = 1)`, base + `.access("counting", count = 0)`
	case "util.renderer.withArgs.*args":
		base = `util.renderer(lambda props, *args: 1)`
		return base + `.withArgs("a")`, base + `.withArgs("b")`
	case "util.renderer.withArgs.**kwargs":
		base = `util.renderer(lambda props, **kwargs: 1)`
		return base + `.withArgs(k = "a")`, base + `.withArgs(k = "b")`
	}
	if name == "in_" {
		return base + `.in_(["a"])`, base + `.in_(["b"])`
	}
	return base + "." + name + `("a")`, base + "." + name + `("b")`
}

// added is the configuration in which a method of BuildFactory adds n steps.
func added(name string, n int) string {
	step := `steps.ShellCommand(command = "true")`
	if name == "addSteps" {
		step = "[" + step + "]"
	}
	lines := "f = util.BuildFactory()\n" + strings.Repeat("f."+name+"("+step+")\n", n)
	return lines + configure(map[string]string{"factory": "f"})
}

const onMore = "\n" + `c["schedulers"] += [schedulers.ForceScheduler(name = "more", builderNames = ["more"])]`

// keyValues are the keys of c before and after a change.
var keyValues = map[string][2]string{
	"c.workers":                       {"", `c["workers"] += [worker.LocalWorker("more")]` + "\n" + `c["builders"] += [util.BuilderConfig(name = "more", workernames = ["more"], factory = util.BuildFactory([]))]` + onMore},
	"c.builders":                      {"", `c["builders"] += [util.BuilderConfig(name = "more", workernames = ["w"], factory = util.BuildFactory([]))]` + onMore},
	"c.schedulers":                    {"", `c["schedulers"] += [schedulers.ForceScheduler(name = "more", builderNames = ["every"])]`},
	"c.projects":                      {"", `c["projects"] += [util.Project("more")]`},
	"c.machines":                      {"", `c["machines"] = [worker.Machine("more")]`},
	"c.title":                         {"", `c["title"] = "other"`},
	"c.titleURL":                      {"", `c["titleURL"] = "http://other/"`},
	"c.buildbotURL":                   {"", `c["buildbotURL"] = "http://other/"`},
	"c.properties":                    {"", `c["properties"] = {"a": "b"}`},
	"c.change_source":                 {"", `c["change_source"] = changes.GitPoller("other")`},
	"c.services":                      {"", `c["services"] = [reporters.MailNotifier("ci@example.com")]`},
	"c.collapseRequests":              {"", `c["collapseRequests"] = False`},
	"c.codebaseGenerator":             {"", `c["codebaseGenerator"] = lambda change: "x"`},
	"c.revlink":                       {"", `c["revlink"] = lambda revision, repository: None`},
	"c.resume_timeout":                {"", `c["resume_timeout"] = 60`},
	"c.www":                           {"", `c["www"] = {"port": "tcp:0:interface=127.0.0.1"}`},
	"c.www.port":                      {`c["www"] = {"port": "tcp:0:interface=127.0.0.1"}`, `c["www"] = {"port": "tcp:0:interface=127.0.0.2"}`},
	"c.www.change_hook_dialects":      {`c["www"] = {"change_hook_dialects": {}}`, `c["www"] = {"change_hook_dialects": {"base": True}}`},
	"c.www.change_hook_dialects.base": {`c["www"] = {"change_hook_dialects": {"base": False}}`, `c["www"] = {"change_hook_dialects": {"base": {}}}`},
	"c.www.change_hook_auth":          {`c["www"] = {"change_hook_auth": {"a": "b"}}`, `c["www"] = {"change_hook_auth": {"a": "c"}}`},
	"c.protocols":                     {"", `c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:0:interface=127.0.0.1"}}`},
	"c.www.change_hook_dialects.poller": {"",
		`c["www"] = {"change_hook_dialects": {"poller": True}}`},
	"c.www.change_hook_dialects.poller.allowed": {`c["www"] = {"change_hook_dialects": {"poller": True}}`,
		`c["www"] = {"change_hook_dialects": {"poller": {"allowed": []}}}`},
	"c.protocols.msgpack_experimental_v7": {`c["protocols"] = {}`,
		`c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:0:interface=127.0.0.1"}}`},
	"c.secretsProviders": {"",
		`c["secretsProviders"] = [secrets.SecretInAFile("secrets")]`},
	"c.protocols.msgpack_experimental_v7.tls_cert": {
		`c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:0:interface=127.0.0.1", "tls_cert": "cert.pem", "tls_key": "key.pem"}}`,
		`c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:0:interface=127.0.0.1", "tls_cert": "./cert.pem", "tls_key": "key.pem"}}`},
	"c.protocols.msgpack_experimental_v7.tls_key": {
		`c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:0:interface=127.0.0.1", "tls_cert": "cert.pem", "tls_key": "key.pem"}}`,
		`c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:0:interface=127.0.0.1", "tls_cert": "cert.pem", "tls_key": "./key.pem"}}`},
	"c.protocols.msgpack_experimental_v7.port": {`c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:0:interface=127.0.0.1"}}`,
		`c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:0:interface=127.0.0.2"}}`},
}

// TestReloadOfEveryArgument changes each key and each argument in a master that runs.
// docs/reload.md says which node changes; others of its kind stay, and so do the
// nodes of all other kinds unless they contain it. A build that began before goes on,
// on the connection it has, and ends with the configuration it began with; the next
// one has the new configuration.
func TestReloadOfEveryArgument(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "reload.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(doc)) {
		if r := reloadRow.FindStringSubmatch(strings.TrimSpace(line)); r != nil {
			rows[r[1]] = r[2]
		}
	}
	used := map[string]bool{}
	m := startMaster(t)
	build := m.begin(t)
	check := func(name, before, after string) {
		row := name
		if strings.HasPrefix(name, "steps.") {
			row = "steps.*"
		}
		node, ok := rows[row]
		used[row] = true
		t.Run(name, func(t *testing.T) {
			if !ok {
				t.Fatal("docs/reload.md does not say what a reload does when it changes")
			}
			if _, ok := m.reload(t, before); !ok {
				return
			}
			if again, _ := m.reload(t, "# a comment\n"+before); !again.Diff.Empty() {
				t.Errorf("a comment changed %+v", again.Diff)
			}
			done, ok := m.reload(t, after)
			if !ok {
				return
			}
			d := done.Diff
			kinds := map[string]bool{}
			for _, k := range slices.Concat(d.Added, d.Removed, d.Changed) {
				kinds[k.Kind] = true
			}
			if d.Master {
				kinds["top level"] = true
			}
			if d.Empty() {
				kinds["nothing"] = true
			}
			if !kinds[node] {
				t.Errorf("the reload changed %v, not %s", slices.Sorted(maps.Keys(kinds)), node)
			}
			for _, k := range []config.Key{{Kind: config.KindWorker, Name: "spare"}, {Kind: config.KindProject, Name: "other"}} {
				if !slices.Contains(d.Kept, k) {
					t.Errorf("%v, which is the same, did not stay", k)
				}
			}
			build.goesOn(t)
			if h := m.Health(); h.Generation != done.Generation || h.ConfigProblems != nil {
				t.Errorf("health: %+v", h)
			}
		})
	}
	for _, name := range slices.Sorted(maps.Keys(keyValues)) {
		v := keyValues[name]
		check(name, configure(map[string]string{"keys": v[0]}), configure(map[string]string{"keys": v[1]}))
	}
	for _, mod := range modules {
		for _, c := range mod.Classes {
			d := spec.Describe(c)
			for _, p := range d.Params {
				before, after := written(c, p)
				check(c.Full()+"."+p.Name, place(c.Full(), before), place(c.Full(), after))
			}
			for _, meth := range d.Methods {
				for _, p := range meth.Params {
					name := c.Full() + "." + meth.Name + "." + p.Name
					if c.Full() == "util.BuildFactory" {
						check(name, added(meth.Name, 1), added(meth.Name, 2))
						continue
					}
					before, after := method(c, meth.Name, p)
					check(name, place(c.Full(), before), place(c.Full(), after))
				}
			}
		}
	}
	build.endsAsItBegan(t)
	for name := range rows {
		if !used[name] {
			t.Errorf("docs/reload.md has a row for %s, which is no key or argument", name)
		}
	}
}
