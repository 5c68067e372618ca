package prop

import (
	"context"
	"fmt"
)

// List renders to the list of what its items render to.
type List []Renderable

// Render renders the items in order.
func (l List) Render(ctx context.Context, p Props) (any, error) {
	out := make([]any, len(l))
	for i, r := range l {
		v, err := r.Render(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		out[i] = v
	}
	return out, nil
}

// AppendCanonical appends the items.
func (l List) AppendCanonical(dst []byte) []byte { return appendNode(dst, "List", l...) }

// Dict renders to a dict. Keys render too, and must render to strings; of equal
// keys the last wins.
type Dict []DictItem

// DictItem is one item of a Dict.
type DictItem struct{ Key, Value Renderable }

// Render renders keys and values in order.
func (d Dict) Render(ctx context.Context, p Props) (any, error) {
	out := make(map[string]any, len(d))
	for _, item := range d {
		k, err := item.Key.Render(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("key of a dict: %w", err)
		}
		name, ok := k.(string)
		if !ok {
			return nil, fmt.Errorf("key of a dict: want string, got %s", Describe(k))
		}
		if out[name], err = item.Value.Render(ctx, p); err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
	}
	return out, nil
}

// AppendCanonical appends keys and values.
func (d Dict) AppendCanonical(dst []byte) []byte {
	parts := make([]Renderable, 0, 2*len(d))
	for _, item := range d {
		parts = append(parts, item.Key, item.Value)
	}
	return appendNode(dst, "Dict", parts...)
}

// FlattenList is util.FlattenList: a list whose items that are lists are replaced
// by their items, at any depth.
type FlattenList struct{ List Renderable }

// Render returns the flat list.
func (f FlattenList) Render(ctx context.Context, p Props) (any, error) {
	v, err := f.List.Render(ctx, p)
	if err != nil {
		return nil, err
	}
	nested, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("FlattenList: want list, got %s", Describe(v))
	}
	return flatten(make([]any, 0, len(nested)), nested), nil
}

func flatten(dst, nested []any) []any {
	for _, e := range nested {
		if l, ok := e.([]any); ok {
			dst = flatten(dst, l)
		} else {
			dst = append(dst, e)
		}
	}
	return dst
}

// AppendCanonical appends the nested list.
func (f FlattenList) AppendCanonical(dst []byte) []byte {
	return appendNode(dst, "FlattenList", f.List)
}
