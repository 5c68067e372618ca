package starlark

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"buildstar/config/prop"
)

// diagnose returns the warnings and problems as people see them: in the order of
// the files, with source lines.
func (e *evaluation) diagnose() (warnings, problems prop.Problems) {
	return e.present(e.warnings), e.present(e.env.Problems())
}

func (e *evaluation) present(ps prop.Problems) prop.Problems {
	if len(ps) == 0 {
		return nil
	}
	out := slices.Clone(ps)
	for i := range out {
		if line := e.shown(out[i].Pos); len(line) <= maxSource {
			out[i].Source = line
		}
		out[i].Chain = shorten(out[i].Chain)
		if out[i].Hint == "" && strings.HasSuffix(out[i].Text, ", got None") && len(e.unset) > 0 {
			out[i].Hint = fmt.Sprintf("is it env(...)? Not set: %s", strings.Join(e.unset[:min(len(e.unset), 5)], ", "))
		}
	}
	slices.SortStableFunc(out, func(a, b prop.Problem) int {
		return cmp.Or(
			cmp.Compare(e.rank(a.Pos.File), e.rank(b.Pos.File)),
			cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Col, b.Pos.Col),
		)
	})
	return out
}

// maxSource is how long a line may be to be shown.
const maxSource = 10_000

// rank puts master.star before the files that it loads.
func (e *evaluation) rank(file string) int {
	if file == e.main {
		return 0
	}
	return 1
}
