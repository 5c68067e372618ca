package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildstar/state"
)

// later is the schema of a later version of buildstar.
func later(t *testing.T, scripts ...string) schema {
	t.Helper()
	s, err := ours()
	if err != nil {
		t.Fatal(err)
	}
	return append(s, scripts...)
}

func builderNames(t *testing.T, s *Store) (names []string) {
	t.Helper()
	err := s.View(t.Context(), func(tx state.ReadTx) error {
		rows, err := tx.Builders(state.Query{})
		for _, b := range rows {
			names = append(names, b.Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A newer version brings the database up to date on a copy and keeps what was there; this
// version can go on with the result, unless the newer one says that it cannot.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.sqlite")
	s := openStore(t, path, Options{})
	addBuilder(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	now := len(later(t))
	next := later(t, "ALTER TABLE builders ADD COLUMN color TEXT NOT NULL DEFAULT 'red'")
	s = openStore(t, path, Options{schema: next})
	if n := len(builderNames(t, s)); n != 1 {
		t.Errorf("%d builders after the upgrade", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	backup := path + ".schema" + string(rune('0'+now))
	if kept, err := os.ReadFile(backup); err != nil || string(kept) != string(before) {
		t.Errorf("the backup: %d bytes, %v; want %d", len(kept), err, len(before))
	}
	if _, err := os.Stat(path + ".migrating"); err == nil {
		t.Error("the copy is still there")
	}
	// One version back.
	s = openStore(t, path, Options{})
	if n := len(builderNames(t, s)); n != 1 {
		t.Errorf("%d builders one version back", n)
	}
	err = s.Update(t.Context(), func(tx state.Tx) error {
		_, err := tx.PutBuilder(state.Builder{Name: "made by the older one", Active: true})
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// And forward again, to one that the first cannot bear.
	s = openStore(t, path, Options{schema: append(next, "UPDATE compatibility SET schema=3")})
	if n := len(builderNames(t, s)); n != 2 {
		t.Errorf("%d builders forward again", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, Options{}); err == nil || !strings.Contains(err.Error(), "restore the backup made before it") {
		t.Errorf("two versions back: %v", err)
	}
}

// A migration that fails, or leaves rows that refer to nothing, changes nothing.
func TestUpgradeFails(t *testing.T) {
	for name, script := range map[string]string{
		"it is wrong":        "ALTER TABLE nothing ADD COLUMN x",
		"it breaks the rows": "PRAGMA foreign_keys=0; INSERT INTO builds SELECT 1, 1, 99, 1, 1, 0, 0, 0, 0, '', 0, 0, '', 0, '', 0, '{}'",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.sqlite")
			s := openStore(t, path, Options{})
			addBuilder(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Open(t.Context(), path, Options{schema: later(t, script)})
			if err == nil || !strings.Contains(err.Error(), "the database is as it was") {
				t.Errorf("err = %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Errorf("the database changed: %v", err)
			}
			s = openStore(t, path, Options{})
			if n := len(builderNames(t, s)); n != 1 {
				t.Errorf("%d builders", n)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
