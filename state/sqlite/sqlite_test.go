package sqlite

import (
	"log/slog"
	"path/filepath"
	"testing"

	"buildstar/state"
	"buildstar/state/statetest"
)

func openStore(t testing.TB, path string, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	statetest.Exercise(t, func(t *testing.T) state.Store {
		return openStore(t, filepath.Join(t.TempDir(), "state.sqlite"), Options{Log: slog.New(slog.DiscardHandler)})
	})
}
