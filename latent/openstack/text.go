package openstack

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"buildstar/config/prop"
)

// A Text is a string, or the name of the secret that is it. It depends on no build: who logs
// in is the same for all.
type Text struct {
	Value  prop.Password
	Secret string // "": Value is it
}

// text is how messages call what a Text takes.
type text string

func (text) TypeName() string { return "string or util.Secret" }

// Plain returns the value if it is no secret.
func (t Text) Plain() (text, bool) { return text(t.Value.Reveal()), t.Secret == "" }

// IsSet reports whether there is one.
func (t Text) IsSet() bool { return t != Text{} }

// Set takes a string, None or a secret.
func (t *Text) Set(r prop.Renderable) error {
	switch r := r.(type) {
	case prop.Secret:
		*t = Text{Secret: r.Name}
		return nil
	case prop.Const:
		if r.V == nil {
			*t = Text{}
			return nil
		}
		s, ok := r.V.(string)
		if !ok {
			return fmt.Errorf("want string or util.Secret, got %s", prop.Describe(r.V))
		}
		*t = Text{Value: prop.Password(s)}
		return nil
	}
	return fmt.Errorf("want string or util.Secret: who logs in cannot depend on a build")
}

// reveal returns the text itself.
func (t Text) reveal(ctx context.Context, secret secrets) (string, error) {
	if t.Secret == "" {
		return t.Value.Reveal(), nil
	}
	return secret.get(ctx, t.Secret)
}

// secrets finds secrets by name; nil knows none.
type secrets func(ctx context.Context, name string) (string, error)

func (s secrets) get(ctx context.Context, name string) (string, error) {
	if s == nil {
		return "", fmt.Errorf("secret %q: no secrets provider is configured", name)
	}
	return s(ctx, name)
}

// AuthArgs are the arguments of a plugin of keystoneauth.
type AuthArgs struct{ Args map[string]Text }

type authArgs map[string]string

func (authArgs) TypeName() string { return "dict of strings or util.Secret" }

// Plain tells the type.
func (a AuthArgs) Plain() (authArgs, bool) { return nil, false }

// authNames are the arguments of the plugins that are supported.
var authNames = []string{
	"application_credential_id", "application_credential_name", "application_credential_secret", "auth_type", "auth_url",
	"default_domain_id", "default_domain_name", "domain_id", "domain_name", "passcode", "password", "project_domain_id",
	"project_domain_name", "project_id", "project_name", "system_scope", "tenant_id", "tenant_name", "token", "trust_id",
	"user_domain_id", "user_domain_name", "user_id", "username",
}

// authTypes are the plugins that are supported.
var authTypes = []string{"password", "token", "v2password", "v2token", "v3applicationcredential", "v3password", "v3token", "v3totp"}

// Set takes a dict of strings and secrets, or None.
func (a *AuthArgs) Set(r prop.Renderable) error {
	args := map[string]Text{}
	switch r := r.(type) {
	case prop.Dict:
		for _, item := range r {
			k, ok := item.Key.(prop.Const)
			name, isString := k.V.(string)
			if !ok || !isString {
				return fmt.Errorf("want string keys")
			}
			if err := setArg(args, name, item.Value); err != nil {
				return err
			}
		}
	case prop.Const:
		m, ok := r.V.(map[string]any)
		if r.V != nil && !ok {
			return fmt.Errorf("want dict of strings or util.Secret, got %s", prop.Describe(r.V))
		}
		for name, v := range m {
			if err := setArg(args, name, prop.Const{V: v}); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("want dict of strings or util.Secret: who logs in cannot depend on a build")
	}
	*a = AuthArgs{args}
	return a.check()
}

func setArg(args map[string]Text, name string, r prop.Renderable) error {
	if !slices.Contains(authNames, name) {
		return unknownKey(name, authNames)
	}
	var t Text
	if err := t.Set(r); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if t.IsSet() {
		args[name] = t
	}
	return nil
}

// check reports what can be known before a login to be wrong.
func (a AuthArgs) check() error {
	if len(a.Args) == 0 {
		return nil
	}
	if !a.Args["auth_url"].IsSet() {
		return fmt.Errorf(`there is no auth_url; add "auth_url": "https://HOST:5000/v3"`)
	}
	if t, plain := a.Args["auth_type"].Plain(); plain && t != "" {
		return checkAuthType(string(t))
	}
	return nil
}

func checkAuthType(t string) error {
	if !slices.Contains(authTypes, t) {
		return fmt.Errorf("auth_type: %w", unknownKey(t, authTypes))
	}
	return nil
}

// unknownKey says that there is no such key, and which was meant.
func unknownKey(key string, keys []string) error {
	if near := prop.Nearest(key, keys); near != "" {
		return fmt.Errorf("there is no %q; did you mean %q?", key, near)
	}
	return fmt.Errorf("there is no %q; there are %s", key, strings.Join(keys, ", "))
}
