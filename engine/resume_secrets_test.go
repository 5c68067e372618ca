package engine

import (
	"context"
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
)

// asks is a step that asks for a secret, and may keep what form makes of it in a property.
func asks(form func(string) string) config.Step {
	return do("ask", func(ctx context.Context, r *run.Running) (config.Result, error) {
		v, err := prop.Secret{Name: "token"}.Render(ctx, r)
		if form != nil && err == nil {
			r.SetProperty("copy", []any{map[string]any{"list": form(v.(string))}}, "ask")
		}
		return config.Success, err
	})
}

// A build that goes on hides the secrets that steps before the restart asked for, too; a
// property has them again, but in no other form.
func TestReviveSecrets(t *testing.T) {
	same := func(s string) string { return s }
	inBase64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	sees := do("see", func(_ context.Context, r *run.Running) (config.Result, error) {
		if p, ok := r.Property("copy"); ok && !reflect.DeepEqual(p, []any{map[string]any{"list": "hunter2"}}) {
			return config.Failure, fmt.Errorf("the property is %v", p)
		}
		return config.Success, nil
	})
	snap := func(form func(string) string, texts map[string]string) *config.Snapshot {
		s := *patient([]string{"w"}, asks(form), shell("work", "echo one; sleep 0.3; echo hunter2"), shell("more", "echo hunter2"), sees)
		s.Master.Secrets = []config.SecretsProvider{&safe{texts: texts}}
		return config.New(s)
	}
	known := map[string]string{"token": "hunter2"}
	for name, form := range map[string]func(string) string{"hidden": nil, "kept in a property": same} {
		t.Run(name, func(t *testing.T) {
			r, b := newSite(t).revived(snap(form, known), "one", func() {}, snap(form, known))
			if b.Results != config.Success || b.Number != 1 {
				t.Fatalf("build: %+v", b)
			}
			if got := r.log(b, "work", "stdio", "o") + r.log(b, "more", "stdio", "o"); got != "one\n<token>\n<token>\n" {
				t.Errorf("logs: %q", got)
			}
		})
	}
	for name, tt := range map[string]struct {
		form func(string) string
		now  map[string]string
		want string
	}{
		"kept in another form": {inBase64, known, `property "copy" held something made of secret "token", which is kept nowhere`},
		"gone":                 {nil, map[string]string{"other": "x"}, `ask again: secret "token": no provider`},
	} {
		t.Run(name, func(t *testing.T) {
			r, b := newSite(t).revived(snap(tt.form, known), "one", func() {}, snap(tt.form, tt.now))
			if b.Results != config.Retry || !strings.Contains(b.StateString, tt.want) {
				t.Errorf("build: %+v, want it to say %q", b, tt.want)
			}
			for _, step := range r.steps(b) {
				if strings.Contains(r.log(b, "work", "stdio", "oh"), "hunter2") || strings.Contains(step.StateString, "hunter2") {
					t.Error("the secret is shown")
				}
			}
		})
	}
}
