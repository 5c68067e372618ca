package starlark

import (
	star "go.starlark.net/starlark"

	"buildstar/config"
	"buildstar/starlark/spec"
)

// dialects is c['www']['change_hook_dialects'] (docs/requirements.md C7).
type dialects struct {
	// Base takes a form with the fields of a change.
	Base star.Value `star:"base,optional"`
}

var dialectsClass = &spec.Class{
	Name: "change_hook_dialects",
	New:  func() any { return &dialects{} },
	Unsupported: map[string]string{
		"github": useBase, "gitlab": useBase, "bitbucket": useBase, "bitbucketcloud": useBase, "bitbucketserver": useBase,
		"gitorious": useBase, "poller": "", "custom_class": "",
	},
}

const useBase = "until then poll the repository, or send what it tells to the dialect base"

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
	switch v := hooks.Base.(type) {
	case nil, star.NoneType, *spec.Placeholder:
	case star.Bool:
		if v {
			out.ChangeHooks = []string{"base"}
		}
	case *star.Dict:
		out.ChangeHooks = []string{"base"}
		if v.Len() > 0 {
			r.problem("bad-value", key+".base", "this dialect has no options", "write True")
		}
	default:
		r.problem("wrong-type", key+".base", "want bool, got "+spec.Got(v), "")
	}
	return out
}
