package change

import (
	"context"
	"fmt"

	"buildstar/config"
	"buildstar/config/prop"
)

// FillIn returns the change with what its source did not tell and the configuration
// does: the codebase of c['codebaseGenerator'], and a link. A link that cannot be made
// is left out, and noLink says why; without a codebase there is no change.
func (in Input) FillIn(ctx context.Context, c *config.Master) (_ Input, noLink, err error) {
	if in.Codebase == nil {
		codebase, err := c.CodebaseGenerator.Render(ctx, asked{&prop.Map{}, []any{in.Dict()}})
		if err != nil {
			return in, nil, fmt.Errorf("ask c['codebaseGenerator']: %w", err)
		}
		in.Codebase = &codebase
	}
	if in.RevLink != "" || in.Revision == "" || in.Repository == "" {
		return in, nil, nil
	}
	if !c.RevLink.IsSet() {
		in.RevLink = wellKnown(in.Revision, in.Repository)
		return in, nil, nil
	}
	link, err := c.RevLink.Render(ctx, asked{&prop.Map{}, []any{in.Revision, in.Repository}})
	if err != nil {
		return in, fmt.Errorf("ask c['revlink']: %w", err), nil
	}
	if link != nil {
		in.RevLink = *link
	}
	return in, nil, nil
}

// asked is what a function about a change is called with.
type asked struct {
	prop.Props
	arguments []any
}

var _ prop.Arguments = asked{}

// Arguments implements prop.Arguments.
func (a asked) Arguments() []any { return a.arguments }
