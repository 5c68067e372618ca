package starlark

import (
	star "go.starlark.net/starlark"

	"buildstar/config/prop"
)

// refuse returns fail_to_substantiate(text) or cannot_substantiate(text), which end the
// function of a latent worker that calls them (docs/requirements.md A9.5, A9.6).
func refuse(name string, cannot bool) star.Value {
	return star.NewBuiltin(name, func(_ *star.Thread, b *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
		r := &prop.Refusal{Cannot: cannot}
		if err := star.UnpackArgs(b.Name(), args, kwargs, "text", &r.Text); err != nil {
			return nil, err
		}
		return nil, r
	})
}
