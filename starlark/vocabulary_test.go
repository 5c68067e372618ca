package starlark_test

import (
	"iter"
	"time"

	star "go.starlark.net/starlark"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark"
	"buildstar/starlark/spec"
)

// A small vocabulary of the same shape as the real one, which is on a higher
// floor.

type testWorker struct {
	Name       string         `star:"name"`
	Password   string         `star:"password,optional"`
	MaxBuilds  int            `star:"max_builds,optional" min:"0"`
	Properties map[string]any `star:"properties,optional"`
	Machine    string         `star:"machine_name,optional,kw"`
	When       string         `star:"when,optional" oneof:"always|never"`
}

func (w *testWorker) Make(c *spec.Call) any {
	if w.Name == "debug" {
		c.Problem("bad-name", "name", `"debug" is reserved`, "choose another name")
	}
	return &config.Worker{
		At: config.At{Where: c.Pos()}, Class: "Worker", Name: w.Name,
		Password: prop.Password(w.Password), MaxBuilds: w.MaxBuilds, Properties: w.Properties,
		Machine: w.Machine,
	}
}

type testLocalWorker struct {
	Name string `star:"name"`
}

func (w *testLocalWorker) Make(c *spec.Call) any {
	return &config.Worker{At: config.At{Where: c.Pos()}, Class: "LocalWorker", Name: w.Name, Local: true}
}

type testStep struct {
	config.At
	Command prop.Template[any]  `star:"command"`
	If      prop.Template[bool] `star:"doStepIf,optional"`
}

func (*testStep) Type() string { return "ShellCommand" }

type testFactory struct {
	Steps []config.Step `star:"steps,optional"`
}

func (f *testFactory) Make(c *spec.Call) any {
	return &config.Factory{At: config.At{Where: c.Pos()}, Steps: f.Steps}
}

type addStep struct {
	Step config.Step `star:"step"`
}

type testBuilder struct {
	Name     string                             `star:"name"`
	Workers  []string                           `star:"workernames"`
	Factory  *config.Factory                    `star:"factory"`
	Builddir string                             `star:"builddir,optional"`
	Project  string                             `star:"project,optional"`
	Collapse *bool                              `star:"collapseRequests,optional" nofunc:"1"`
	Locks    prop.Template[config.LockAccesses] `star:"locks,optional"`
}

func (b *testBuilder) Make(c *spec.Call) any {
	dir := b.Builddir
	if dir == "" {
		dir = b.Name
	}
	return &config.Builder{
		At: config.At{Where: c.Pos()}, Name: b.Name, Workers: b.Workers, Factory: b.Factory,
		Builddir: dir, Project: b.Project, CollapseRequests: b.Collapse, Locks: b.Locks,
	}
}

type testProject struct {
	Name string `star:"name"`
}

func (p *testProject) Make(c *spec.Call) any {
	return &config.Project{At: config.At{Where: c.Pos()}, Name: p.Name}
}

type testLock struct {
	Name     string `star:"name"`
	MaxCount int    `star:"maxCount,optional" min:"1"`
}

func (l *testLock) Make(c *spec.Call) any {
	return &config.Lock{At: config.At{Where: c.Pos()}, Name: l.Name, MaxCount: l.MaxCount}
}

type testScheduler struct {
	config.At
	Name         string   `star:"name"`
	BuilderNames []string `star:"builderNames"`
	Upstream     string   `star:"upstream,optional"`
}

func (s *testScheduler) Key() config.Key {
	return config.Key{Kind: config.KindScheduler, Name: s.Name}
}
func (s *testScheduler) Refs() iter.Seq2[string, config.Key] {
	return func(yield func(string, config.Key) bool) {
		if s.Upstream != "" {
			yield("upstream", config.Key{Kind: config.KindScheduler, Name: s.Upstream})
		}
	}
}
func (s *testScheduler) Type() string       { return "ForceScheduler" }
func (s *testScheduler) Builders() []string { return s.BuilderNames }

type testTriggerable struct{ testScheduler }

func (*testTriggerable) Triggerable() {}
func (*testTriggerable) Type() string { return "OnDemand" }

type testTrigger struct {
	config.At
	SchedulerNames []string `star:"schedulerNames"`
	WaitForFinish  bool     `star:"waitForFinish,optional"`
}

func (*testTrigger) Type() string              { return "Trigger" }
func (s *testTrigger) Triggers() []string      { return s.SchedulerNames }
func (s *testTrigger) WaitsForTriggered() bool { return s.WaitForFinish }

type testProperty struct {
	Name string `star:"name"`
}

type property struct{ prop.Const }

func (p *testProperty) Make(*spec.Call) any { return property{prop.Const{V: p.Name}} }

var vocabulary = []*spec.Module{
	{Name: "worker", Classes: []*spec.Class{
		{Module: "worker", Name: "Worker", New: func() any { return &testWorker{} },
			Unsupported: map[string]string{"notify_on_missing": "", "locks": "give the lock to the builders"}},
		{Module: "worker", Name: "LocalWorker", New: func() any { return &testLocalWorker{} }},
	}, Unsupported: map[string]string{"EC2LatentWorker": "", "DockerLatentWorker": ""}},
	{Name: "steps", Classes: []*spec.Class{
		{Module: "steps", Name: "ShellCommand", New: func() any { return &testStep{} }},
		{Module: "steps", Name: "Trigger", New: func() any { return &testTrigger{} }},
	}, Unsupported: map[string]string{"Git": ""}},
	{Name: "schedulers", Classes: []*spec.Class{
		{Module: "schedulers", Name: "ForceScheduler", New: func() any { return &testScheduler{} }},
		{Module: "schedulers", Name: "OnDemand", New: func() any { return &testTriggerable{} }},
	}},
	{Name: "util", Classes: []*spec.Class{
		{Module: "util", Name: "BuildFactory", New: func() any { return &testFactory{} }, Methods: []spec.Method{
			{Name: "addStep", New: func() any { return &addStep{} }, Call: func(_ *spec.Call, self *spec.Object, params any) (any, error) {
				if err := self.Mutable("add steps to"); err != nil {
					return nil, err
				}
				f := self.Value.(*config.Factory)
				f.Steps = append(f.Steps, params.(*addStep).Step)
				return nil, nil
			}},
			{Name: "withSecrets", Unsupported: "use an environment variable"},
		}},
		{Module: "util", Name: "BuilderConfig", New: func() any { return &testBuilder{} },
			Unsupported: map[string]string{"nextBuild": ""}},
		{Module: "util", Name: "Project", New: func() any { return &testProject{} }},
		{Module: "util", Name: "MasterLock", New: func() any { return &testLock{MaxCount: 1} }},
		{Module: "util", Name: "Property", New: func() any { return &testProperty{} },
			Binary: func(op string, x, y prop.Renderable) (prop.Renderable, error) { return prop.Operate(op, x, y) }},
	}, Values: map[string]star.Value{"SUCCESS": star.MakeInt(0)}},
	{Name: "changes", NotYet: true},
}

// function stands for starlark/call, which is on a higher floor.
func function(f spec.Function) prop.Renderable {
	return &prop.Property{Name: f.Callable.Name(), Default: prop.Const{}}
}

var testOptions = starlark.Options{Modules: vocabulary, Function: function, Timeout: 5 * time.Minute}
