package starlark

import (
	"fmt"
	"slices"

	star "go.starlark.net/starlark"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// dialects is c['www']['change_hook_dialects'] (docs/requirements.md C7).
type dialects struct {
	// Base takes a form with the fields of a change.
	Base star.Value `star:"base,optional"`
	// Poller asks change sources to look for changes now: those that ?poller=NAME names,
	// or all. {'allowed': [NAME, ...]} has it ask those alone.
	Poller star.Value `star:"poller,optional"`
}

var dialectsClass = &spec.Class{
	Name: "change_hook_dialects",
	New:  func() any { return &dialects{} },
	Unsupported: map[string]string{
		"github": useBase, "gitlab": useBase, "bitbucket": useBase, "bitbucketcloud": useBase, "bitbucketserver": useBase,
		"gitorious": useBase, "custom_class": "",
	},
}

const useBase = "until then poll the repository, or send what it tells to the dialect base"

// pollerHook are the options of the dialect poller.
type pollerHook struct {
	// Allowed are the names of the change sources that may be asked; the default is all.
	Allowed []string `star:"allowed,optional"`
}

var pollerHookClass = &spec.Class{Name: "poller", New: func() any { return &pollerHook{} }}

// readWWW reads c['www'].
func (r root) readWWW(d *star.Dict) (out config.WWW) {
	w := r.keys(wwwClass, "www", d).(*www)
	if w.Port != nil {
		w.Port.Pos = r.place("www.port")
		out.Port = &w.Port.Listen
	}
	out.ChangeHookAuth = w.ChangeHookAuth
	for user, password := range w.ChangeHookAuth {
		if user == "" || password == "" {
			r.problem("bad-value", "www.change_hook_auth", "a user or a password is empty", "")
			break
		}
	}
	if w.ChangeHookDialects == nil {
		return out
	}
	const key = "www.change_hook_dialects"
	hooks := r.keys(dialectsClass, key, w.ChangeHookDialects).(*dialects)
	if options, ok := r.dialect(key+".base", hooks.Base); ok {
		out.ChangeHooks = append(out.ChangeHooks, "base")
		if options != nil && options.Len() > 0 {
			r.problem("bad-value", key+".base", "this dialect has no options", "write True")
		}
	}
	if options, ok := r.dialect(key+".poller", hooks.Poller); ok {
		out.ChangeHooks = append(out.ChangeHooks, "poller")
		out.HookPolls.All = true
		if options != nil {
			if allowed := r.keys(pollerHookClass, key+".poller", options).(*pollerHook).Allowed; allowed != nil {
				out.HookPolls = config.HookPolls{Names: allowed}
			}
		}
	}
	return out
}

// dialect reports whether a dialect is enabled, by True or by its options.
func (r root) dialect(key string, v star.Value) (options *star.Dict, ok bool) {
	switch v := v.(type) {
	case nil, star.NoneType, *spec.Placeholder:
	case star.Bool:
		return nil, bool(v)
	case *star.Dict:
		return v, true
	default:
		r.problem("wrong-type", key, "want bool or dict, got "+spec.Got(v), "")
	}
	return nil, false
}

// checkHooks reports change sources that the hook poller may ask and that do not exist.
func (g *graph) checkHooks(m config.Master) {
	if !g.sources.complete(g.e) {
		return
	}
	names := g.sources.names()
	for _, name := range m.WWW.HookPolls.Names {
		if slices.Contains(names, name) {
			continue
		}
		hint := ""
		if near := prop.Nearest(name, names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		g.root.problem("undefined-change-source", "www.change_hook_dialects.poller.allowed", fmt.Sprintf("there is no change source %q", name), hint)
	}
}
