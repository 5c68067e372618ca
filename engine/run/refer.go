package run

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"buildstar/state"
)

// property returns what is kept of a property, and given to the builds that a build
// triggers: in the place of each secret stands <NAME>, and the names are with it, so that
// who builds can put the secrets back in. Where that is impossible, because a secret
// stands there in another form, what is hidden stays hidden.
func (m *mask) property(p state.Property) state.Property {
	if m.now.Load() == nil || len(p.Secrets) > 0 {
		return p
	}
	m.mu.Lock()
	texts := maps.Clone(m.texts)
	m.mu.Unlock()
	hidden := state.Property{Value: m.value(p.Value), Source: p.Source}
	labels := make(map[string]string, len(texts))
	for name, text := range texts {
		labels[text] = label(name)
	}
	value := replaceTexts(p.Value, labels)
	for name := range texts {
		if contains(value, label(name)) {
			hidden.Secrets = append(hidden.Secrets, name)
		} else {
			delete(texts, name)
		}
	}
	slices.Sort(hidden.Secrets)
	if !reflect.DeepEqual(m.value(value), value) || !reflect.DeepEqual(restore(value, texts), p.Value) {
		hidden.Secrets = nil
		return hidden
	}
	hidden.Value = value
	return hidden
}

// restore puts secrets, by name, in the places of their labels.
func restore(value any, texts map[string]string) any {
	labels := make(map[string]string, len(texts))
	for name, text := range texts {
		labels[label(name)] = text
	}
	return replaceTexts(value, labels)
}

// replaceTexts replaces texts in a property value, the longest first: one may begin as
// another.
func replaceTexts(value any, by map[string]string) any {
	old := slices.SortedFunc(maps.Keys(by), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	pairs := make([]string, 0, 2*len(old))
	for _, text := range old {
		pairs = append(pairs, text, by[text])
	}
	return eachText(value, strings.NewReplacer(pairs...).Replace)
}

// eachText returns a property value with fn of each of its texts.
func eachText(v any, fn func(string) string) any {
	switch v := v.(type) {
	case string:
		return fn(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = eachText(e, fn)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[fn(k)] = eachText(e, fn)
		}
		return out
	}
	return v
}

// reveal puts secrets back into the properties that were kept without them.
func (t *Table) reveal(ctx context.Context) error {
	for name, p := range t.All() {
		if len(p.Secrets) == 0 {
			continue
		}
		texts := make(map[string]string, len(p.Secrets))
		for _, s := range p.Secrets {
			text, err := t.Secret(ctx, s)
			if err != nil {
				return fmt.Errorf("property %q: %w", name, err)
			}
			texts[s] = text
		}
		t.put(name, restore(p.Value, texts), p.Source)
	}
	return nil
}
