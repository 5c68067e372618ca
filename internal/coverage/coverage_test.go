// Package coverage proves that every argument of the configuration language does
// something. It sets each one to a value that is not its default and checks that
// what the call returns differs; and it checks that docs/coverage.md names a test
// that observes the effect, and that this test exists.
package coverage

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/builtins/changes"
	"buildstar/builtins/reporters"
	"buildstar/builtins/schedulers"
	"buildstar/builtins/secrets"
	"buildstar/builtins/steps"
	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/config"
	"buildstar/latent/docker"
	"buildstar/latent/ec2"
	"buildstar/latent/libvirt"
	"buildstar/latent/openstack"
	"buildstar/latent/script"
	"buildstar/starlark/call"
	"buildstar/starlark/spec"
)

var modules = []*spec.Module{worker.Module.With(script.Worker, docker.Worker, ec2.Worker, openstack.Worker, libvirt.Worker), steps.Module, changes.Module, schedulers.Module, util.Module, secrets.Module, reporters.Module}

// required is how each class is called with nothing but what it needs.
var required = map[string]map[string]string{
	"worker.Worker":                    {"name": `"w"`, "password": `"p"`},
	"worker.LocalWorker":               {"name": `"w"`},
	"worker.DockerLatentWorker":        {"name": `"w"`, "password": `None`, "docker_host": `"unix:///s"`, "image": `"i"`, "dockerfile": `"FROM x"`},
	"worker.OpenStackLatentWorker":     {"name": `"w"`, "password": `None`, "flavor": `"m1"`, "image": `"i"`, "os_username": `"u"`, "os_password": `"p"`, "os_auth_url": `"http://h/v3"`, "client_version": `"2.60"`, "os_cloud": `"c"`},
	"worker.LibVirtWorker":             {"name": `"w"`, "password": `None`, "base_image": `"/b"`},
	"worker.EC2LatentWorker":           {"name": `"w"`, "password": `"p"`, "instance_type": `"m5.large"`, "ami": `"ami-1"`},
	"worker.LatentWorker":              {"name": `"w"`, "password": `None`, "start_instance": `lambda ctx: "h"`, "stop_instance": `lambda ctx, handle, fast: None`, "is_compatible_with_build": `lambda ctx, handle, props: True`},
	"util.InstanceCap":                 {"name": `"n"`, "max_instances": `3`},
	"util.Connection":                  {"uri": `"qemu:///system"`},
	"worker.Machine":                   {"name": `"m"`},
	"secrets.SecretInAFile":            {"dirname": `"secrets"`},
	"reporters.MailNotifier":           {"fromaddr": `"ci@example.com"`, "smtpUser": `"u"`, "smtpPassword": `"p"`},
	"util.Secret":                      {"name": `"s"`},
	"steps.ShellCommand":               {"command": `"true"`},
	"steps.ShellSequence":              {"commands": `[]`},
	"steps.MasterShellCommand":         {"command": `"true"`},
	"steps.SetProperty":                {"property": `"p"`, "value": `1`},
	"steps.SetPropertyFromCommand":     {"command": `"true"`, "property": `"p"`},
	"steps.Assert":                     {"check": `1`},
	"steps.LogRenderable":              {"content": `1`},
	"steps.MakeDirectory":              {"dir": `"d"`},
	"steps.RemoveDirectory":            {"dir": `"d"`},
	"steps.CopyDirectory":              {"src": `"s"`, "dest": `"d"`},
	"steps.FileExists":                 {"file": `"f"`},
	"steps.FileUpload":                 {"workersrc": `"s"`, "masterdest": `"d"`},
	"steps.DirectoryUpload":            {"workersrc": `"s"`, "masterdest": `"d"`},
	"steps.MultipleFileUpload":         {"workersrcs": `["s"]`, "masterdest": `"d"`},
	"steps.FileDownload":               {"mastersrc": `"s"`, "workerdest": `"d"`},
	"steps.StringDownload":             {"s": `"s"`, "workerdest": `"d"`},
	"steps.JSONStringDownload":         {"o": `1`, "workerdest": `"d"`},
	"steps.JSONPropertiesDownload":     {"workerdest": `"d"`},
	"steps.Git":                        {"repourl": `"https://h/a"`, "sshPrivateKey": `"K"`},
	"steps.Trigger":                    {"schedulerNames": `util.Property("s")`},
	"schedulers.Triggerable":           {"name": `"t"`, "builderNames": `["b"]`},
	"util.ShellArg":                    {"command": `"true"`},
	"changes.GitPoller":                {"repourl": `"r"`, "sshPrivateKey": `"k"`, "pollRandomDelayMax": `9`},
	"util.GitCredentialOptions":        {"credentials": `[]`},
	"schedulers.ForceScheduler":        {"name": `"f"`, "builderNames": `["b"]`},
	"util.BuilderConfig":               {"name": `"b"`, "workernames": `["w"]`, "factory": `util.BuildFactory([])`},
	"util.MasterLock":                  {"name": `"l"`},
	"util.WorkerLock":                  {"name": `"l"`},
	"util.Property":                    {"key": `"p"`},
	"util.Interpolate":                 {"fmtstring": `"x"`},
	"util.Transform":                   {"function": `lambda: 1`},
	"util.FlattenList":                 {"nestedlist": `[["a"]]`},
	"util.renderer":                    {"fn": `lambda props: 1`},
	"util.Project":                     {"name": `"p"`},
	"util.StringParameter":             {"name": `"p"`},
	"util.TextParameter":               {"name": `"p"`},
	"util.IntParameter":                {"name": `"p"`},
	"util.BooleanParameter":            {"name": `"p"`},
	"util.FixedParameter":              {"name": `"p"`},
	"util.ChoiceStringParameter":       {"name": `"p"`, "choices": `["a", "b"]`},
	"util.CodebaseParameter":           {"codebase": `"c"`},
	"util.RevlinkMatch":                {"repo_urls": `"r"`, "revlink": `"%s"`},
	"schedulers.SingleBranchScheduler": {"name": `"f"`, "builderNames": `["every"]`, "branch": `"main"`},
	"schedulers.AnyBranchScheduler":    {"name": `"f"`, "builderNames": `["every"]`},
	"schedulers.Dependent":             {"name": `"f"`, "upstream": `schedulers.ForceScheduler("all", ["every"])`, "builderNames": `["every"]`},
	"schedulers.Periodic":              {"name": `"f"`, "builderNames": `["every"]`, "periodicBuildTimer": `60`},
	"schedulers.Nightly":               {"name": `"f"`, "builderNames": `["every"]`},
	"schedulers.NightlyTriggerable":    {"name": `"f"`, "builderNames": `["every"]`},
}

// values are arguments for which the type does not say what a good value is.
var values = map[string]string{
	"worker.DockerLatentWorker.docker_host":          `"tcp://h:1"`,
	"worker.DockerLatentWorker.volumes":              `["/a:/b"]`,
	"worker.DockerLatentWorker.version":              `"1.41"`,
	"worker.DockerLatentWorker.tls":                  `True`,
	"worker.DockerLatentWorker.master_protocol":      `"msgpack_experimental_v7"`,
	"worker.DockerLatentWorker.hostconfig":           `{"init": False}`,
	"worker.OpenStackLatentWorker.os_auth_args":      `{"auth_url": "http://h"}`,
	"worker.OpenStackLatentWorker.block_devices":     `[{"uuid": "u"}]`,
	"worker.OpenStackLatentWorker.client_version":    `"2.61"`,
	"worker.OpenStackLatentWorker.nova_args":         `{"description": "d"}`,
	"worker.LibVirtWorker.xml":                       `"<domain/>"`,
	"util.Connection.uri":                            `"qemu:///session"`,
	"worker.LibVirtWorker.uri":                       `"qemu:///session"`,
	"worker.EC2LatentWorker.ami":                     `"ami-2"`,
	"worker.EC2LatentWorker.valid_ami_owners":        `[1]`,
	"worker.EC2LatentWorker.elastic_ip":              `"192.0.2.1"`,
	"worker.EC2LatentWorker.identifier":              `"i", secret_identifier = "s"`,
	"worker.EC2LatentWorker.secret_identifier":       `"s", identifier = "i"`,
	"worker.EC2LatentWorker.region":                  `"us-west-2"`,
	"worker.EC2LatentWorker.volumes":                 `[("vol-1", "/dev/sdf")]`,
	"worker.EC2LatentWorker.placement":               `"b"`,
	"worker.EC2LatentWorker.block_device_map":        `[{"DeviceName": "/dev/sdb"}]`,
	"worker.EC2LatentWorker.endpoint_url":            `"http://h"`,
	"worker.LatentWorker.start_instance":             `len`,
	"worker.LatentWorker.stop_instance":              `len`,
	"worker.LatentWorker.check_instance":             `lambda ctx, handle: (True, "")`,
	"worker.LatentWorker.is_compatible_with_build":   `len`,
	"worker.LatentWorker.list_instances":             `lambda ctx: []`,
	"worker.LatentWorker.builds_may_be_incompatible": `False`,
	"*.caps":                                   `[util.InstanceCap("c", max_instances = 1)]`,
	"*.updateBuildSummaryPolicy":               `[util.FAILURE]`,
	"*.locks":                                  `[util.MasterLock("l").access("exclusive")]`,
	"*.machine_name":                           `"other"`,
	"*.notify_on_missing":                      `"other@example.com"`,
	"reporters.MailNotifier.builders":          `[]`,
	"reporters.MailNotifier.fromaddr":          `"other@example.com"`,
	"reporters.MailNotifier.generators":        `[reporters.WorkerMissingGenerator()]`,
	"reporters.WorkerMissingGenerator.workers": `["w"]`,
	"reporters.MailNotifier.extraRecipients":   `["other@example.com"]`,
	"*.autopopulate":                           `{"a": {"b": "c"}}`,
	"*.columns":                                `3`,
	"*.interruptSignal":                        `"INT"`,
	"*.decodeRC":                               `{0: util.SUCCESS, 7: util.WARNINGS}`,
	"steps.ShellSequence.commands":             `[util.ShellArg("true")]`,
	"steps.SetPropertyFromCommand.extract_fn":  `lambda rc, out, err: {}`,
	"steps.Git.sshHostKey":                     `"ssh-rsa A"`,
	"steps.Git.retry":                          `(1, 2)`,
	"steps.Git.config":                         `{"a.b": "c"}`,
	"steps.Git.getDescription":                 `{"tags": True}`,
	"steps.Git.auth_credentials":               `("u", "p")`,
	"steps.Git.git_credentials":                `util.GitCredentialOptions(["url=https://h/"])`,
	"steps.SetProperties.properties":           `{"p": 1}`,
	"steps.Trigger.schedulerNames":             `util.Property("other")`,
	"steps.Trigger.sourceStamp":                `{"branch": "b"}`,
	"steps.Trigger.sourceStamps":               `[{"branch": "b"}]`,
	"changes.GitPoller.pollInterval":           `70`,
	"changes.GitPoller.encoding":               `"latin-1"`,
	"changes.GitPoller.branches":               `["other"]`,
	"changes.GitPoller.auth_credentials":       `("user", "pw")`,
	"changes.GitPoller.git_credentials":        `util.GitCredentialOptions(credentials = [])`,
	"changes.GitPoller.sshHostKey":             `"ssh-ed25519 AAAA"`,
	"util.GitCredentialOptions.credentials":    `["url=https://u:p@h"]`,
	"schedulers.ForceScheduler.username":       `util.UserNameParameter(label = "Who?")`,
	"schedulers.ForceScheduler.reason":         `util.StringParameter(name = "reason", label = "Why?")`,
	"schedulers.ForceScheduler.priority":       `util.IntParameter(name = "priority", default = 3)`,
	"schedulers.ForceScheduler.properties":     `[util.StringParameter(name = "x")]`,
	"util.BuilderConfig.factory":               `util.BuildFactory([steps.ShellCommand(command = "true")])`,
	"util.BuildFactory.steps":                  `[steps.ShellCommand(command = "true")]`,
	"util.WorkerLock.maxCountForWorker":        `{"w": 2}`,
	"util.Transform.function":                  `len`,
	"util.RevlinkMatch.revlink":                `"other%s"`,
	"util.renderer.fn":                         `len`,
	"util.IntParameter.default":                `4`,
	"util.ChoiceStringParameter.default":       `"b"`,
	"*.change_filter":                          `util.ChangeFilter(branch = "x")`,
	"*.categories":                             `["x"]`,
	"*.fileIsImportant":                        `lambda change: True`,
	"schedulers.Nightly.minute":                `5`,
	"schedulers.NightlyTriggerable.minute":     `5`,
	"schedulers.Nightly.hour":                  `5`,
	"schedulers.NightlyTriggerable.hour":       `5`,
	"schedulers.Nightly.dayOfMonth":            `5`,
	"schedulers.NightlyTriggerable.dayOfMonth": `5`,
	"schedulers.Nightly.month":                 `5`,
	"schedulers.NightlyTriggerable.month":      `5`,
	"schedulers.Nightly.dayOfWeek":             `5`,
	"schedulers.NightlyTriggerable.dayOfWeek":  `5`,
	"schedulers.Nightly.force_at_minute":       `0`,
	"schedulers.Nightly.force_at_hour":         `5`,
	"schedulers.Nightly.force_at_day_of_month": `5`,
	"schedulers.Nightly.force_at_month":        `5`,
	"schedulers.Nightly.force_at_day_of_week":  `5`,
	"schedulers.Dependent.upstream":            `schedulers.ForceScheduler("rest", ["every"])`,
	"util.ChangeFilter.filter_fn":              `lambda change: True`,
	"util.ChangeFilter.project_fn":             `lambda project: True`,
	"util.ChangeFilter.repository_fn":          `lambda repository: True`,
	"util.ChangeFilter.branch_fn":              `lambda branch: True`,
	"util.ChangeFilter.category_fn":            `lambda category: True`,
	"util.ChangeFilter.codebase_fn":            `lambda codebase: True`,
}

// instead are arguments that take the place of a required one.
var instead = map[string]string{
	"steps.SetPropertyFromCommand.extract_fn":         "property",
	"worker.EC2LatentWorker.valid_ami_owners":         "ami",
	"worker.EC2LatentWorker.valid_ami_location_regex": "ami",
	"schedulers.SingleBranchScheduler.change_filter":  "branch",
}

// other returns a value of a parameter's type that is not its default.
func other(p spec.Param) string {
	switch {
	case len(p.OneOf) > 0:
		for _, v := range p.OneOf {
			if q := fmt.Sprintf("%q", v); q != p.Default {
				return q
			}
		}
	case p.Default == "True":
		return "False"
	case p.Default == "False":
		return "True"
	}
	switch t := p.Type; {
	case strings.HasPrefix(t, "list"):
		return `["other"]`
	case strings.HasPrefix(t, "dict"):
		return `{"other": "x"}`
	case strings.HasPrefix(t, "int"), strings.HasPrefix(t, "number"), strings.HasPrefix(t, "seconds"), strings.HasPrefix(t, "float"):
		return "7"
	case strings.HasPrefix(t, "bool"):
		return "True"
	}
	return `"other"`
}

func TestEveryArgumentChangesWhatTheCallReturns(t *testing.T) {
	for _, m := range modules {
		for _, c := range m.Classes {
			t.Run(c.Full(), func(t *testing.T) {
				base := maps.Clone(required[c.Full()])
				if base == nil {
					base = map[string]string{}
				}
				was := evaluate(t, c.Full(), base)
				for _, p := range spec.Describe(c).Params {
					if strings.HasPrefix(p.Name, "*") {
						continue
					}
					args := maps.Clone(base)
					v, ok := values[c.Full()+"."+p.Name]
					if !ok {
						v, ok = values["*."+p.Name]
					}
					if !ok {
						v = other(p)
					}
					delete(args, instead[c.Full()+"."+p.Name])
					args[p.Name] = v
					if is := evaluate(t, c.Full(), args); is == was {
						t.Errorf("%s = %s changes nothing", p.Name, args[p.Name])
					}
				}
			})
		}
	}
}

// evaluate makes a call and returns the digest of its value.
func evaluate(t *testing.T, class string, args map[string]string) config.Digest {
	t.Helper()
	var list []string
	for _, name := range slices.Sorted(maps.Keys(args)) {
		list = append(list, name+" = "+args[name])
	}
	src := fmt.Sprintf("x = %s(%s)\n", class, strings.Join(list, ", "))
	thread := &star.Thread{Name: "coverage"}
	env := &spec.Env{Function: call.Renderable}
	env.Attach(thread)
	predeclared := star.StringDict{}
	for _, m := range modules {
		predeclared[m.Name] = m.Value(env)
	}
	globals, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "coverage.star", src, predeclared)
	if err != nil {
		t.Errorf("%s%v", src, err)
		return config.Digest{}
	}
	return config.Hash(globals["x"].(*spec.Object).Value)
}

var row = regexp.MustCompile(`^\| ([a-z]+\.\w+[.\w*]*) \| (.*) \|$`)

// TestEveryArgumentHasATest reads docs/coverage.md.
func TestEveryArgumentHasATest(t *testing.T) {
	root := filepath.Join("..", "..")
	doc, err := os.ReadFile(filepath.Join(root, "docs", "coverage.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string][]string)
	for line := range strings.Lines(string(doc)) {
		if m := row.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			named[m[1]] = regexp.MustCompile(`Test\w+`).FindAllString(m[2], -1)
		}
	}
	tests := testNames(t, root)
	for _, m := range modules {
		for _, c := range m.Classes {
			for _, arg := range arguments(c) {
				if len(named[arg]) == 0 {
					t.Errorf("docs/coverage.md names no test that observes %s", arg)
				}
				for _, name := range named[arg] {
					if !tests[name] {
						t.Errorf("docs/coverage.md: %s: there is no %s", arg, name)
					}
				}
				delete(named, arg)
			}
		}
	}
	for arg, names := range named { // the keys of c are in no module
		if !strings.HasPrefix(arg, "c.") {
			t.Errorf("docs/coverage.md names %s, which is no argument", arg)
		}
		for _, name := range names {
			if !tests[name] {
				t.Errorf("docs/coverage.md: %s: there is no %s", arg, name)
			}
		}
	}
}

// arguments returns the arguments of a class and of its methods:
// util.MasterLock.access.mode.
func arguments(c *spec.Class) []string {
	d := spec.Describe(c)
	var args []string
	for _, p := range d.Params {
		args = append(args, c.Full()+"."+p.Name)
	}
	for _, m := range d.Methods {
		for _, p := range m.Params {
			args = append(args, c.Full()+"."+m.Name+"."+p.Name)
		}
	}
	return args
}

// testNames returns the names of all test functions of the repository.
func testNames(t *testing.T, root string) map[string]bool {
	t.Helper()
	out, err := exec.Command("git", "-C", root, "grep", "-hoE", "--untracked", `^func Test\w+`, "--", "*_test.go").Output()
	if err != nil {
		t.Fatalf("git grep: %v", err)
	}
	names := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		names[strings.TrimPrefix(strings.TrimSpace(line), "func ")] = true
	}
	return names
}
