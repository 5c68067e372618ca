package steps

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"buildstar/config/prop"
)

// Describe is what the getDescription argument says.
type Describe struct {
	On      bool
	Options []string // of git describe
}

// TypeName is what messages call it.
func (*Describe) TypeName() string { return "bool or dict of options of git describe" }

// describeOptions are the options of git describe, and what each takes.
var describeOptions = map[string]string{
	"all": "bool", "always": "bool", "contains": "bool", "debug": "bool", "long": "bool", "exact-match": "bool",
	"first-parent": "bool", "tags": "bool", "match": "string", "exclude": "string", "abbrev": "int", "candidates": "int", "dirty": "bool or string",
}

// FromValue reads a bool, or a dict of options.
func (d *Describe) FromValue(v any) error {
	*d = Describe{}
	switch v := v.(type) {
	case nil:
	case bool:
		d.On = v
	case map[string]any:
		d.On = true
		for _, name := range slices.Sorted(maps.Keys(v)) {
			kind, ok := describeOptions[name]
			if !ok {
				return fmt.Errorf("git describe has no option %q here; there are %s", name, strings.Join(slices.Sorted(maps.Keys(describeOptions)), ", "))
			}
			option, ok := describeOption(name, kind, v[name])
			if !ok {
				return fmt.Errorf("%q: want %s, got %s", name, kind, prop.Describe(v[name]))
			}
			d.Options = append(d.Options, option...)
		}
	default:
		return fmt.Errorf("want a bool or a dict of options of git describe, got %s", prop.Describe(v))
	}
	return nil
}

func describeOption(name, kind string, v any) (words []string, ok bool) {
	flag := "--" + name
	switch v := v.(type) {
	case nil:
		return nil, true
	case bool:
		if v && strings.HasPrefix(kind, "bool") {
			words = []string{flag}
		}
		return words, !v || words != nil
	case int64:
		return []string{fmt.Sprintf("%s=%d", flag, v)}, kind == "int" && v >= 0
	case string:
		switch {
		case v != "":
			words = []string{flag + "=" + v}
		case name == "dirty":
			words = []string{flag}
		}
		return words, strings.HasSuffix(kind, "string")
	}
	return nil, false
}

// describe sets commit-description. That there is nothing to say is no failure.
func (g *checkout) describe(ctx context.Context) error {
	if !g.GetDescription.On {
		return nil
	}
	args := append([]string{"describe"}, g.GetDescription.Options...)
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--dirty") }) {
		args = append(args, "HEAD") // --dirty is about the work tree
	}
	text, err := g.output(ctx, args...)
	if err != nil {
		if failed(ctx, err) {
			return nil
		}
		return err
	}
	g.stamp.set(g.r, g.Type(), "commit-description", text)
	return nil
}
