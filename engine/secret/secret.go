// Package secret finds secrets by their names, in the providers that
// c['secretsProviders'] lists (docs/requirements.md C11).
package secret

import (
	"context"
	"errors"
	"fmt"

	"buildstar/config"
	"buildstar/config/prop"
)

// Provider is where secrets are kept, as the configuration declares it.
type Provider interface {
	config.SecretsProvider
	// Open makes the provider ready, or says why it cannot be used. Relative paths in it
	// are below basedir. It is called whenever a configuration is put in force.
	Open(basedir string) (Source, error)
}

// Source is an open provider. It is safe for concurrent use.
type Source interface {
	// Secret returns a secret; ok is false if there is none of that name.
	Secret(ctx context.Context, name string) (text string, ok bool, err error)
}

// Set is the open providers of one configuration. The zero Set has no secrets.
type Set struct{ sources []Source }

// Open opens providers. The error is a prop.Problems with the place of each that
// cannot be used.
func Open(providers []config.SecretsProvider, basedir string) (Set, error) {
	var set Set
	var problems prop.Problems
	for _, p := range providers {
		var s Source
		err := errors.New("it is none that this master can open")
		if known, ok := p.(Provider); ok {
			s, err = known.Open(basedir)
		}
		if err != nil {
			problems = append(problems, prop.Problem{Code: "secrets", Pos: p.Pos(), Subject: "secrets." + p.Type(), Text: err.Error()})
			continue
		}
		set.sources = append(set.sources, s)
	}
	if problems != nil {
		return Set{}, problems
	}
	return set, nil
}

// Lookup returns the secret of the first provider that has one of that name.
func (s Set) Lookup(ctx context.Context, name string) (string, error) {
	for _, source := range s.sources {
		text, ok, err := source.Secret(ctx, name)
		switch {
		case err != nil:
			return "", fmt.Errorf("secret %q: %w", name, err)
		case ok:
			return text, nil
		}
	}
	if s.sources == nil {
		return "", fmt.Errorf("secret %q: c['secretsProviders'] lists no provider", name)
	}
	return "", fmt.Errorf("secret %q: no provider of c['secretsProviders'] has it", name)
}
