package schedulers

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
)

// ForceScheduler is schedulers.ForceScheduler (docs/requirements.md C6).
var ForceScheduler = &spec.Class{
	Module: "schedulers", Name: "ForceScheduler",
	New:     func() any { return &forceScheduler{ReasonString: "A build was forced by '%(owner)s': %(reason)s"} },
	Partial: true,
	Unsupported: map[string]string{
		"branch": inCodebase, "revision": inCodebase, "repository": inCodebase, "project": inCodebase,
		"createAbsoluteSourceStamps": "",
	},
}

const inCodebase = `since Buildbot 0.9 it is an argument of util.CodebaseParameter: codebases=[util.CodebaseParameter("", branch=...)]`

// forceScheduler starts builds when a person asks for it, on the page or by REST.
type forceScheduler struct {
	// Name identifies the scheduler. It has letters, digits, _ and -, and does not
	// begin with a digit.
	Name string `star:"name"`
	// BuilderNames are the builders that can be forced.
	BuilderNames []string `star:"builderNames"`
	// Username asks who forces the build, of people who are not logged in. The
	// default is util.UserNameParameter().
	Username *sched.Parameter `star:"username,optional" hint:"write util.UserNameParameter(...)"`
	// Reason asks why. The default is a text named "reason", with the default
	// "force build".
	Reason *sched.Parameter `star:"reason,optional" hint:"write util.StringParameter(\"reason\", default = ...)"`
	// ReasonString is the reason of the build; %(owner)s and %(reason)s stand in it
	// for the person and the reason.
	ReasonString string `star:"reasonString,optional"`
	// ButtonName is the text of the button; the default is the name.
	ButtonName string `star:"buttonName,optional"`
	// Codebases ask which source to build: names, or util.CodebaseParameter for each.
	// The default is one for the codebase "".
	Codebases codebases `star:"codebases,optional"`
	// Label is the title of the form; the default is the name.
	Label string `star:"label,optional"`
	// Properties ask for properties of the build, with the source "Force Build Form".
	Properties []*sched.Parameter `star:"properties,optional"`
	// Priority asks for the priority of the requests. The default is an int named
	// "priority", with the default 0.
	Priority *sched.Parameter `star:"priority,optional" hint:"write util.IntParameter(\"priority\", default = 0)"`
}

// Make makes the scheduler.
func (f *forceScheduler) Make(c *spec.Call) any {
	if err := config.CheckIdentifier(f.Name); err != nil {
		c.Problem("bad-name", "name", err.Error(), "")
	}
	if len(f.BuilderNames) == 0 {
		c.Problem("bad-value", "builderNames", "no builder is named", "")
	}
	if _, err := reasonOf(f.ReasonString, "", ""); err != nil {
		c.Problem("bad-interpolation", "reasonString", err.Error(), "%(owner)s and %(reason)s can be filled in, and %% is a percent sign")
	}
	if f.Username == nil {
		f.Username = &sched.Parameter{Type: sched.TypeUser, Name: "username", Label: "Your name:", TabLabel: "Your name:", Default: "", Size: 30, NeedEmail: true}
	}
	if f.Reason == nil {
		f.Reason = &sched.Parameter{Type: sched.TypeText, Name: "reason", Label: "reason", TabLabel: "reason", Default: "force build", Size: 20}
	}
	if f.Priority == nil {
		f.Priority = &sched.Parameter{Type: sched.TypeInt, Name: "priority", Label: "priority", TabLabel: "priority", Default: int64(0), Size: 10}
	}
	if f.Codebases.list == nil {
		f.Codebases.list = []*sched.Parameter{codebase("")}
	}
	f.checkParameters(c)
	label, button := f.Label, f.ButtonName
	if label == "" {
		label = f.Name
	}
	if button == "" {
		button = f.Name
	}
	return &Force{
		At: config.At{Where: c.Pos()}, Name: f.Name, BuilderNames: dedupe(f.BuilderNames),
		Username: f.Username, Reason: f.Reason, Priority: f.Priority, Codebases: f.Codebases.list, Properties: f.Properties,
		ReasonString: f.ReasonString, Label: label, ButtonName: button,
	}
}

func dedupe(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// checkParameters reports parameters of a wrong kind and names that stand twice.
func (f *forceScheduler) checkParameters(c *spec.Call) {
	if p := f.Username; p.Type == sched.TypeNested || p.Multiple {
		c.Problem("wrong-type", "username", "want a parameter with one text, such as util.UserNameParameter()", "")
	}
	if p := f.Reason; p.Type != sched.TypeText && p.Type != sched.TypeTextArea && p.Type != sched.TypeList && p.Type != sched.TypeFixed || p.Multiple {
		c.Problem("wrong-type", "reason", "want a parameter with one text, such as util.StringParameter(...)", "")
	}
	if _, isInt := f.Priority.Default.(int64); !isInt {
		c.Problem("wrong-type", "priority", "want a parameter with one int, such as util.IntParameter(...)", "")
	}
	seen := map[string]string{}
	check := func(param string, p *sched.Parameter, parent string) {
		if c.Bad(param) {
			return
		}
		full := p.FullName(parent)
		other, ok := seen[full]
		if !ok {
			seen[full] = param
		}
		// A property may be asked for by the field of a source, as in Buildbot.
		if ok && (param != "properties" || other != "codebases") {
			c.Problem("duplicate-name", param, fmt.Sprintf("the field %q is there already, in %s", full, other), "give one of them another name")
		}
	}
	check("username", f.Username, "")
	check("reason", f.Reason, "")
	check("priority", f.Priority, "")
	stamps := map[string]bool{}
	for _, group := range f.Codebases.list {
		if stamps[*group.Codebase] {
			c.Problem("duplicate-name", "codebases", fmt.Sprintf("the codebase %q stands there twice", *group.Codebase), "")
			continue
		}
		stamps[*group.Codebase] = true
		for _, field := range group.Fields {
			check("codebases", field, group.FullName(""))
		}
	}
	for i, p := range f.Properties {
		if p.Type == sched.TypeNested {
			c.Problem("wrong-type", "properties", fmt.Sprintf("item %d: a util.CodebaseParameter belongs into codebases", i+1), "")
			continue
		}
		check("properties", p, "")
	}
}

// codebases is a list of names and of util.CodebaseParameter.
type codebases struct{ list []*sched.Parameter }

// TypeName is what messages call it.
func (codebases) TypeName() string { return "list of names and util.CodebaseParameter" }

// FromValue reads the list; None is the default.
func (cs *codebases) FromValue(v any) error {
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("want list of names and util.CodebaseParameter, got %s", prop.Describe(v))
	}
	if len(list) == 0 {
		return errors.New(`the list is empty: leave it out, or hide the fields with [util.CodebaseParameter("", hide=True)]`)
	}
	cs.list = make([]*sched.Parameter, 0, len(list))
	for i, e := range list {
		switch e := e.(type) {
		case string:
			cs.list = append(cs.list, codebase(e))
		case *sched.Parameter:
			if e.Codebase == nil {
				return fmt.Errorf("item %d: want a name or a util.CodebaseParameter, got another parameter", i+1)
			}
			cs.list = append(cs.list, e)
		default:
			return fmt.Errorf("item %d: want a name or a util.CodebaseParameter, got %s", i+1, prop.Describe(e))
		}
	}
	return nil
}

// codebase is util.CodebaseParameter(name).
func codebase(name string) *sched.Parameter {
	var fields []*sched.Parameter
	for _, attr := range sched.CodebaseAttrs {
		fields = append(fields, sched.CodebaseField(attr))
	}
	return sched.Codebase(name, fields)
}

// Force is the configured scheduler, a sched.Forcer.
type Force struct {
	config.At
	Name                            string
	BuilderNames                    []string
	Username, Reason, Priority      *sched.Parameter
	Codebases, Properties           []*sched.Parameter
	ReasonString, Label, ButtonName string
}

var _ sched.Forcer = (*Force)(nil)

// Key returns the scheduler's key.
func (f *Force) Key() config.Key { return config.Key{Kind: config.KindScheduler, Name: f.Name} }

// Type returns ForceScheduler.
func (f *Force) Type() string { return "ForceScheduler" }

// Builders returns the builders that can be forced.
func (f *Force) Builders() []string { return f.BuilderNames }

// Refs yields them.
func (f *Force) Refs() iter.Seq2[string, config.Key] {
	return func(yield func(string, config.Key) bool) {
		for _, b := range f.BuilderNames {
			if !yield("builderNames", config.Key{Kind: config.KindBuilder, Name: b}) {
				return
			}
		}
	}
}

// Form returns what to ask. Enabled is the scheduler's setting in the state, which
// the caller fills in; here it is true.
func (f *Force) Form() sched.Form {
	form := sched.Form{Name: f.Name, Label: f.Label, ButtonName: f.ButtonName, BuilderNames: f.BuilderNames, Enabled: true}
	who := &sched.Parameter{Type: sched.TypeNested, Default: "", Layout: "vertical", Columns: 1, Fields: []*sched.Parameter{f.Username, f.Reason, f.Priority}}
	for _, p := range slices.Concat([]*sched.Parameter{who}, f.Codebases, f.Properties) {
		form.Fields = append(form.Fields, p.Field(""))
	}
	return form
}
