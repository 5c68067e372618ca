package worker

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// secretVariables are how a worker may be told its password; its commands do not see
// them.
var secretVariables = []string{"BUILDSTAR_PASSWORD", "WORKERPASS"}

// ownEnviron is the worker's environment without its secrets.
func ownEnviron() map[string]string {
	env := map[string]string{}
	for _, kv := range os.Environ() {
		if name, value, ok := strings.Cut(kv, "="); ok && name != "" && !slices.Contains(secretVariables, name) {
			env[name] = value
		}
	}
	return env
}

var variable = regexp.MustCompile(`\$\{([0-9a-zA-Z_]*)\}`)

// An environChange is the env argument of shell, checked but not yet applied.
type environChange struct {
	set    map[string]string
	remove []string
}

// parseEnviron reads the env argument: text, lists of text that are joined like a
// search path, and None to remove a variable (docs/protocol.md A.6).
func (r *reader) parseEnviron(key string) environChange {
	change := environChange{set: map[string]string{}}
	if r.args[key] == nil {
		return change
	}
	env, ok := r.args[key].(map[string]any)
	if !ok {
		r.bad(key, "a map of variables")
		return change
	}
	for name, v := range env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			r.fail(fmt.Errorf("env: %q cannot be the name of a variable", name))
			continue
		}
		if v == nil {
			change.remove = append(change.remove, name)
			continue
		}
		value, ok := joined(v)
		if !ok || strings.Contains(value, "\x00") {
			r.fail(fmt.Errorf("'env' values must be strings or lists; key '%s' is incorrect", name))
		}
		change.set[name] = value
	}
	return change
}

// joined returns the text of v, or of the texts in it with the path separator between.
func joined(v any) (string, bool) {
	if list, ok := v.([]any); ok {
		parts := make([]string, len(list))
		for i, e := range list {
			if parts[i], ok = asText(e); !ok {
				return "", false
			}
		}
		return strings.Join(parts, string(os.PathListSeparator)), true
	}
	return asText(v)
}

// apply returns own with the change made. ${NAME} is replaced by own's value. A
// PYTHONPATH comes before the worker's own one.
func (c environChange) apply(own map[string]string) map[string]string {
	env := make(map[string]string, len(own)+len(c.set))
	for name, value := range own {
		env[name] = value
	}
	for name, value := range c.set {
		value = variable.ReplaceAllStringFunc(value, func(ref string) string { return own[ref[2:len(ref)-1]] })
		if old := own["PYTHONPATH"]; name == "PYTHONPATH" && old != "" {
			value += string(os.PathListSeparator) + old
		}
		env[name] = value
	}
	for _, name := range c.remove {
		delete(env, name)
	}
	return env
}

// environList returns env as NAME=value, sorted.
func environList(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}
