package logfile

import (
	"testing"

	"buildstar/state"
	"buildstar/state/statetest"
)

func openStore(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLogStore(t *testing.T) {
	statetest.ExerciseLogs(t, func(t *testing.T) state.LogStore { return openStore(t, t.TempDir(), Options{}) })
}
