package config

import (
	"cmp"
	"slices"
)

// Diff is what a reload changes, by content: moving or commenting a line changes
// nothing. Each list is sorted by kind and name.
type Diff struct {
	Added, Removed, Changed, Kept []Key
	Master                        bool // the top level changed
}

// Empty reports whether nothing changed.
func (d Diff) Empty() bool {
	return !d.Master && len(d.Added)+len(d.Removed)+len(d.Changed) == 0
}

// Compare returns what differs from old to next. A nil old is an empty
// configuration.
func Compare(old, next *Snapshot) Diff {
	if old == nil {
		old = New(Snapshot{})
	}
	d := Diff{Master: old.master != next.master}
	for k, h := range next.hashes {
		switch was, ok := old.hashes[k]; {
		case !ok:
			d.Added = append(d.Added, k)
		case was != h:
			d.Changed = append(d.Changed, k)
		default:
			d.Kept = append(d.Kept, k)
		}
	}
	for k := range old.hashes {
		if _, ok := next.hashes[k]; !ok {
			d.Removed = append(d.Removed, k)
		}
	}
	for _, l := range [][]Key{d.Added, d.Removed, d.Changed, d.Kept} {
		slices.SortFunc(l, func(a, b Key) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
		})
	}
	return d
}
