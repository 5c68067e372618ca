package util

import (
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// Secret is util.Secret (docs/requirements.md C3).
var Secret = &spec.Class{
	Module: "util", Name: "Secret",
	New: func() any { return &secret{} },
}

// secret is the text that a provider of c['secretsProviders'] has under a name. It is
// asked for when it is needed. What a build prints of it is replaced by <NAME>. It
// cannot be compared or added to: write util.Interpolate("...%(secret:NAME)s").
type secret struct {
	// Name is what the provider knows it by.
	Name string `star:"name"`
}

// Make makes the renderable.
func (s *secret) Make(c *spec.Call) any {
	if s.Name == "" {
		c.Problem("bad-name", "name", "the name of the secret is empty", "")
	}
	return prop.Secret{Name: s.Name}
}
