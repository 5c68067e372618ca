package schedulers

import (
	"fmt"

	"buildstar/config/prop"
)

// branch is the name of a branch, or None for the default one; as a list, any of them.
// It is not set unless it was given, even as None.
type branch struct {
	Values []any
	list   bool
}

// TypeName is what messages call it.
func (branch) TypeName() string { return "name of a branch, None, or list of these" }

// FromValue reads it.
func (b *branch) FromValue(v any) error {
	items, list := v.([]any)
	if !list {
		items = []any{v}
	}
	for _, e := range items {
		if _, err := prop.Convert[*string](e); err != nil {
			return fmt.Errorf("want %s, got %s", b.TypeName(), prop.Describe(e))
		}
	}
	b.Values, b.list = append([]any{}, items...), list
	return nil
}

// one returns the branch if it is one.
func (b branch) one() (name *string, ok bool) {
	if b.list || len(b.Values) != 1 {
		return nil, false
	}
	name, _ = prop.Convert[*string](b.Values[0])
	return name, true
}
