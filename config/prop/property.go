package prop

import "context"

// Property is util.Property: the value of one property (docs/requirements.md C3).
type Property struct {
	Name    string
	Default Renderable // nil: None
	// DefaultWhenFalse makes Default also stand for a value that is set but false,
	// zero or empty.
	DefaultWhenFalse bool
}

// Render returns the property's value or the rendered default.
func (r *Property) Render(ctx context.Context, p Props) (any, error) {
	v, ok := p.Property(r.Name)
	if ok && (!r.DefaultWhenFalse || Truthy(v)) {
		return v, nil
	}
	if r.Default == nil {
		return nil, nil
	}
	return r.Default.Render(ctx, p)
}

// AppendCanonical appends the name and how the default applies.
func (r *Property) AppendCanonical(dst []byte) []byte {
	return appendNode(dst, "Property", Const{r.Name}, Const{r.DefaultWhenFalse}, r.Default)
}

// Secret is a secret by its name.
type Secret struct{ Name string }

// Render returns the secret's text.
func (s Secret) Render(ctx context.Context, p Props) (any, error) {
	text, err := p.Secret(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	return text, nil
}

// String returns <secret>.
func (s Secret) String() string { return "<secret>" }

// AppendCanonical appends the secret's name.
func (s Secret) AppendCanonical(dst []byte) []byte {
	return appendNode(dst, "Secret", Const{s.Name})
}

// URLForBuild is util.URLForBuild: the address of the build's page.
type URLForBuild struct{}

// Render returns the address.
func (URLForBuild) Render(_ context.Context, p Props) (any, error) { return p.BuildURL(), nil }

// AppendCanonical appends that there is nothing to it.
func (URLForBuild) AppendCanonical(dst []byte) []byte { return appendNode(dst, "URLForBuild") }
