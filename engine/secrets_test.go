package engine

import (
	"context"
	"errors"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/engine/secret"
	"buildstar/state"
)

// safe is a provider of secrets that the test changes.
type safe struct {
	config.At
	texts map[string]string
}

func (*safe) Type() string { return "Safe" }
func (s *safe) Open(string) (secret.Source, error) {
	if s.texts == nil {
		return nil, errors.New("the safe is locked")
	}
	return box(s.texts), nil
}

type box map[string]string

func (b box) Secret(_ context.Context, name string) (string, bool, error) {
	text, ok := b[name]
	return text, ok, nil
}

// guarded is a configuration with secrets.
func guarded(texts map[string]string, steps ...config.Step) *config.Snapshot {
	s := oneBuilder(steps...)
	s.Master.Secrets = []config.SecretsProvider{&safe{texts: texts}}
	s.Workers = append(s.Workers, &config.Worker{Name: "far", Class: "Worker", PasswordSecret: "far-password"})
	return config.New(*s)
}

// A step has the secret itself; nothing that is kept of the build has it.
func TestSecretsOfSteps(t *testing.T) {
	use := do("use", func(ctx context.Context, r *run.Running) (config.Result, error) {
		v, err := prop.Secret{Name: "token"}.Render(ctx, r)
		if err != nil {
			return config.Exception, err
		}
		text := v.(string)
		r.SetProperty("copy", "is "+text, "use")
		r.AddURL("link to "+text, "http://x/?"+text)
		r.Describe("using "+text, "used "+text)
		l, err := r.AddLog("stdio", "s")
		if err != nil {
			return config.Exception, err
		}
		dir, err := r.Workdir(ctx)
		if err != nil {
			return config.Exception, err
		}
		res, err := r.Command(ctx, run.Command{Name: "shell", Log: l, Args: map[string]any{
			"workdir": dir, "command": []any{"sh", "-c", "echo out $SECRET; echo $1 | tr a-z A-Z", "x", text}, "usePTY": false,
			"env": map[string]any{"SECRET": text}, "logEnviron": true,
		}})
		if p, _ := r.Property("copy"); p != "is "+text {
			t.Errorf("a later step sees %v", p)
		}
		return res.Result(), err
	})
	ask := do("ask", func(ctx context.Context, r *run.Running) (config.Result, error) {
		_, err := prop.Secret{Name: "tokne"}.Render(ctx, r)
		return config.Exception, err
	})
	r := newSite(t).start(guarded(map[string]string{"token": "hunter2"}, use, ask))
	b := r.build("b")
	if got := r.results(b); got != "use=success ask=exception" {
		t.Errorf("steps: %s", got)
	}
	if got := r.log(b, "ask", "err.text", "t"); !strings.Contains(got, `secret "tokne": no provider`) {
		t.Errorf("err.text: %s", got)
	}
	stdio := r.log(b, "use", "stdio", "ohe")
	if !strings.Contains(stdio, "out <token>\n") || !strings.Contains(stdio, "SECRET=<token>") || !strings.Contains(stdio, "HUNTER2\n") {
		t.Errorf("stdio: %s", stdio)
	}
	step := r.steps(b)[1]
	if step.StateString != "used <token>" || step.URLs[0] != (state.URL{Name: "link to <token>", URL: "http://x/?<token>"}) {
		t.Errorf("step: %+v", step)
	}
	if p := r.properties(b)["copy"]; p.Value != "is <token>" {
		t.Errorf("property: %v", p)
	}
	if strings.Contains(stdio, "hunter2") {
		t.Error("the log has the secret")
	}
}

// A worker's password can be a secret; a reload reads it anew, and who has the old one
// must leave. A provider that cannot be opened keeps the old configuration.
func TestSecretPassword(t *testing.T) {
	s := newSite(t)
	r := s.start(guarded(map[string]string{"far-password": "one"}))
	if err := r.Login("far", "one"); err != nil {
		t.Error(err)
	}
	if err := r.Login("far", "two"); err == nil || strings.Contains(err.Error(), "one") {
		t.Errorf("another password: %v", err)
	}
	old := &named{newSlow(), "far"}
	served := r.serve(old)
	r.connected("far")
	put := func(texts map[string]string) error { return r.Apply(context.Background(), guarded(texts)) }
	if err := put(map[string]string{"far-password": "one", "new": "x"}); err != nil {
		t.Fatal(err)
	}
	if r.fleet.session("far") == nil || closed(old.closing) {
		t.Error("the worker was disconnected though its password is the same")
	}
	var ps prop.Problems
	if err := put(nil); !errors.As(err, &ps) || !strings.Contains(ps.Error(), "the safe is locked") {
		t.Errorf("a locked safe: %v", err)
	}
	if err := r.Login("far", "one"); err != nil {
		t.Errorf("after a reload that failed: %v", err)
	}
	close(old.closed)
	if err := put(map[string]string{"far-password": "two"}); err != nil {
		t.Fatal(err)
	}
	if !closed(old.closing) {
		t.Error("the worker stays, with the old password")
	}
	close(old.done)
	<-served
	if r.Login("far", "one") == nil || r.Login("far", "two") != nil {
		t.Error("the new password is not in force")
	}
	if err := put(map[string]string{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Login("far", "two"); err == nil || !strings.Contains(err.Error(), `secret "far-password": no provider`) {
		t.Errorf("without the secret: %v", err)
	}
}

// named is a session of another worker.
type named struct {
	*slow
	name string
}

func (n *named) Name() string { return n.name }
