package secret

import (
	"context"
	"errors"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
)

// kept is a provider of fixed secrets.
type kept struct {
	config.At
	texts map[string]string
	err   error
}

func (*kept) Type() string                  { return "Kept" }
func (k *kept) Open(string) (Source, error) { return k, k.err }
func (k *kept) Secret(_ context.Context, name string) (string, bool, error) {
	text, ok := k.texts[name]
	if text == "broken" {
		return "", false, errors.New("the vault is on fire")
	}
	return text, ok, nil
}

type stranger struct{ config.At }

func (*stranger) Type() string { return "Stranger" }

func TestLookup(t *testing.T) {
	first, second := &kept{texts: map[string]string{"a": "1", "x": "broken"}}, &kept{texts: map[string]string{"a": "2", "b": "3"}}
	set, err := Open([]config.SecretsProvider{first, second}, "/")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "1", "b": "3"} {
		if got, err := set.Lookup(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{"c": `secret "c": no provider of c['secretsProviders'] has it`, "x": `secret "x": the vault is on fire`} {
		if _, err := set.Lookup(t.Context(), name); err == nil || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Set{}).Lookup(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "lists no provider") {
		t.Errorf("without providers: %v", err)
	}
}

func TestOpenNamesEveryProvider(t *testing.T) {
	at := func(line int) config.At { return config.At{Where: prop.Pos{File: "master.star", Line: line}} }
	_, err := Open([]config.SecretsProvider{&kept{At: at(1), err: errors.New("locked")}, &kept{At: at(2)}, &stranger{at(3)}}, "/")
	var ps prop.Problems
	if !errors.As(err, &ps) || len(ps) != 2 || ps[0].Pos.Line != 1 || ps[0].Text != "locked" || ps[0].Subject != "secrets.Kept" || ps[1].Pos.Line != 3 {
		t.Errorf("got %+v", err)
	}
}
