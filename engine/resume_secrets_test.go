package engine

import (
	"context"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
)

// asks is a step that asks for a secret, and may keep it in a property.
func asks(property string) config.Step {
	return do("ask", func(ctx context.Context, r *run.Running) (config.Result, error) {
		v, err := prop.Secret{Name: "token"}.Render(ctx, r)
		if property != "" {
			r.SetProperty(property, []any{map[string]any{"list": v}}, "ask")
		}
		return config.Success, err
	})
}

// A build that goes on hides the secrets that steps before the restart asked for, too; what
// held one cannot be had again.
func TestReviveSecrets(t *testing.T) {
	snap := func(property string, texts map[string]string) *config.Snapshot {
		s := *patient([]string{"w"}, asks(property), shell("work", "echo one; sleep 0.3; echo hunter2"), shell("more", "echo hunter2"))
		s.Master.Secrets = []config.SecretsProvider{&safe{texts: texts}}
		return config.New(s)
	}
	known := map[string]string{"token": "hunter2"}
	t.Run("hidden", func(t *testing.T) {
		r, b := newSite(t).revived(snap("", known), "one", func() {}, snap("", known))
		if b.Results != config.Success || b.Number != 1 {
			t.Fatalf("build: %+v", b)
		}
		if got := r.log(b, "work", "stdio", "o") + r.log(b, "more", "stdio", "o"); got != "one\n<token>\n<token>\n" {
			t.Errorf("logs: %q", got)
		}
	})
	for name, tt := range map[string]struct {
		property string
		now      map[string]string
		want     string
	}{
		"kept in a property": {"copy", known, `property "copy" held secret "token", which is kept nowhere`},
		"gone":               {"", map[string]string{"other": "x"}, `ask again: secret "token": no provider`},
	} {
		t.Run(name, func(t *testing.T) {
			r, b := newSite(t).revived(snap(tt.property, known), "one", func() {}, snap(tt.property, tt.now))
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
