package script

import (
	"context"
	"errors"
	"fmt"

	"buildstar/config/prop"
	"buildstar/latent"
)

// backend calls the functions.
type backend struct {
	p   *Params
	env latent.Env
}

var (
	_ latent.Backend = (*backend)(nil)
	_ latent.Checker = (*backend)(nil)
	_ latent.Matcher = (*backend)(nil)
	_ latent.Lister  = (*backend)(nil)
	_ latent.Doctor  = (*backend)(nil)
)

// Start implements latent.Backend.
func (b *backend) Start(ctx context.Context, in latent.Launch) (s latent.Started, err error) {
	o := b.object(in.Ref)
	o.password, o.master, o.props, o.tell = in.Password, in.URL(), in.Properties, in.Log
	v, err := b.call(ctx, b.p.Start, o)
	if err != nil {
		return s, err
	}
	if d, ok := v.(map[string]any); ok {
		for k := range d {
			if k != "handle" && k != "info" {
				return s, fmt.Errorf("start_instance returned a dict with %q: its keys are handle and info", k)
			}
		}
		v = d["handle"]
		if info := d["info"]; info != nil {
			if s.Info, err = prop.Convert[[]string](info); err != nil {
				return s, fmt.Errorf("start_instance returned info: %w", err)
			}
		}
	}
	handle, ok := v.(string)
	if !ok || handle == "" {
		return s, fmt.Errorf("start_instance returned %s: want the handle, a string", prop.Describe(v))
	}
	s.Handle = handle
	return s, nil
}

// Stop implements latent.Backend.
func (b *backend) Stop(ctx context.Context, in latent.Ref, fast bool) error {
	_, err := b.call(ctx, b.p.Stop, b.object(in), handle(in), fast)
	return err
}

// handle is None without one.
func handle(in latent.Ref) any {
	if in.Handle == "" {
		return nil
	}
	return in.Handle
}

// Check implements latent.Checker.
func (b *backend) Check(ctx context.Context, in latent.Ref) (good bool, message string, err error) {
	if b.p.Check == nil {
		return true, "", nil
	}
	v, err := b.call(ctx, b.p.Check, b.object(in), handle(in))
	if err != nil {
		return false, "", err
	}
	pair, ok := v.([]any)
	if !ok || len(pair) != 2 {
		return false, "", fmt.Errorf("check_instance returned %s: want (is_good, message)", prop.Describe(v))
	}
	if pair[1] != nil {
		if message, err = prop.Convert[string](pair[1]); err != nil {
			return false, "", fmt.Errorf("check_instance returned a message: %w", err)
		}
	}
	return prop.Truthy(pair[0]), message, nil
}

// Matches implements latent.Matcher.
func (b *backend) Matches(ctx context.Context, in latent.Ref, _, _ latent.Arguments, properties map[string]any) (bool, error) {
	if !b.p.Incompatible {
		return true, nil
	}
	v, err := b.call(ctx, b.p.Match, b.object(in), handle(in), properties)
	return prop.Truthy(v), err
}

// List implements latent.Lister.
func (b *backend) List(ctx context.Context) (refs []latent.Ref, err error) {
	if b.p.List == nil {
		return nil, nil
	}
	v, err := b.call(ctx, b.p.List, b.object(latent.Ref{}))
	if err != nil {
		return nil, err
	}
	handles, err := prop.Convert[[]string](v)
	if err != nil {
		return nil, fmt.Errorf("list_instances: %w", err)
	}
	for _, h := range handles {
		refs = append(refs, latent.Ref{Handle: h})
	}
	return refs, nil
}

// Examine implements latent.Doctor: the only function that changes nothing is the one that
// lists.
func (b *backend) Examine(ctx context.Context, report func(latent.Finding)) {
	const check = "list_instances"
	if b.p.List == nil {
		report(latent.Finding{Check: check, Text: "it is not given: there is nothing to examine"})
		return
	}
	refs, err := b.List(ctx)
	report(latent.Examined(check, fmt.Sprintf("it returned %d handles", len(refs)), err, ""))
}

// call calls a function with its arguments.
func (b *backend) call(ctx context.Context, f prop.Renderable, o *object, args ...any) (any, error) {
	o.ctx = ctx
	v, err := f.Render(ctx, callback{o, append([]any{prop.Attributes(o)}, args...)})
	var refused *prop.Refusal
	if errors.As(err, &refused) && refused.Cannot {
		return nil, latent.Cannotf("%s", refused.Text)
	}
	if refused != nil {
		return nil, errors.New(refused.Text)
	}
	return v, err
}

// callback is what the functions are called with.
type callback struct {
	o    *object
	args []any
}

var _ prop.Arguments = callback{}

func (c callback) Property(name string) (any, bool) {
	v, ok := c.o.props[name]
	return v, ok
}
func (callback) SourceStamp(string) (prop.SourceStamp, bool) { return prop.SourceStamp{}, false }
func (callback) Fact(string) (any, bool)                     { return nil, false }
func (c callback) Secret(ctx context.Context, name string) (string, error) {
	return c.o.secret(ctx, name)
}
func (callback) BuildURL() string    { return "" }
func (c callback) Arguments() []any  { return c.args }
func (c callback) Print(text string) { c.o.tell(text + "\n") }
