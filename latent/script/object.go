package script

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"buildstar/config/prop"
	"buildstar/latent"
)

// object is ctx as the functions see it.
type object struct {
	ctx      context.Context // of the call
	env      latent.Env
	ref      latent.Ref
	password string
	master   string
	props    map[string]any
	tell     func(string)
}

var _ prop.Attributes = (*object)(nil)

func (b *backend) object(in latent.Ref) *object {
	return &object{env: b.env, ref: in, props: map[string]any{}, tell: func(text string) {
		slog.Info("latent worker", "worker", in.Worker, "says", text)
	}}
}

func (o *object) TypeName() string { return "ctx" }

func (o *object) AttributeNames() []string { return slices.Sorted(maps.Keys(o.attributes())) }

func (o *object) Attribute(name string) (any, bool) {
	v, ok := o.attributes()[name]
	return v, ok
}

func (o *object) attributes() map[string]any {
	optional := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	return map[string]any{
		"worker": o.ref.Worker, "instance": o.ref.Attempt, "tag": o.env.Master,
		"password": optional(o.password), "master": optional(o.master), "props": o.props, "binary": o.env.Binary,
		"http": web{}, "exec": prop.Method(o.exec), "log": prop.Method(o.log), "secret": prop.Method(o.secretMethod),
		"sleep": prop.Method(o.sleep),
	}
}

func (o *object) secret(ctx context.Context, name string) (string, error) {
	if o.env.Secret == nil {
		return "", fmt.Errorf("secret %q: no secrets provider is configured", name)
	}
	return o.env.Secret(ctx, name)
}

func (o *object) secretMethod(ctx context.Context, args []any, kwargs map[string]any) (any, error) {
	a, err := bind("secret", args, kwargs, 1, "name")
	if err != nil {
		return nil, err
	}
	name, err := prop.Convert[string](a["name"])
	if err != nil {
		return nil, fmt.Errorf("secret: name: %w", err)
	}
	return o.secret(ctx, name)
}

func (o *object) log(_ context.Context, args []any, kwargs map[string]any) (any, error) {
	a, err := bind("log", args, kwargs, 1, "text")
	if err != nil {
		return nil, err
	}
	text, err := prop.Convert[string](a["text"])
	if err != nil {
		return nil, fmt.Errorf("log: text: %w", err)
	}
	o.tell(text + "\n")
	return nil, nil
}

func (o *object) sleep(ctx context.Context, args []any, kwargs map[string]any) (any, error) {
	a, err := bind("sleep", args, kwargs, 1, "seconds")
	if err != nil {
		return nil, err
	}
	d, err := seconds(a["seconds"])
	if err != nil {
		return nil, fmt.Errorf("sleep: seconds: %w", err)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func seconds(v any) (time.Duration, error) {
	n, err := prop.Convert[float64](v)
	if err == nil && (n < 0 || n > 1e6) {
		err = errors.New("want 0 to a million seconds")
	}
	return time.Duration(n * float64(time.Second)), err
}

// bind puts arguments to their names; the first needed ones must be there.
func bind(method string, args []any, kwargs map[string]any, needed int, names ...string) (map[string]any, error) {
	if len(args) > len(names) {
		return nil, fmt.Errorf("%s: %d arguments, at most %d are possible", method, len(args), len(names))
	}
	out := map[string]any{}
	for i, v := range args {
		out[names[i]] = v
	}
	for k, v := range kwargs {
		if !slices.Contains(names, k) {
			return nil, fmt.Errorf("%s: unknown argument %q; the arguments are %v", method, k, names)
		}
		if _, twice := out[k]; twice {
			return nil, fmt.Errorf("%s: %s is given twice", method, k)
		}
		out[k] = v
	}
	for _, n := range names[:needed] {
		if _, ok := out[n]; !ok {
			return nil, fmt.Errorf("%s: %s is missing", method, n)
		}
	}
	return out, nil
}

// fields is a plain object: the result of exec.
type fields struct {
	name string
	of   map[string]any
}

func (f fields) TypeName() string         { return f.name }
func (f fields) AttributeNames() []string { return slices.Sorted(maps.Keys(f.of)) }
func (f fields) Attribute(name string) (any, bool) {
	v, ok := f.of[name]
	return v, ok
}
