package sqlite

import (
	"fmt"
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
	s = openStore(t, path, Options{schema: append(next, fmt.Sprintf("UPDATE compatibility SET schema=%d", len(next)+1))})
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

// A migration may make a table anew that others refer to.
func TestUpgradeRebuilds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.sqlite")
	s := openStore(t, path, Options{})
	if err := s.Update(t.Context(), addBuild(addBuilder(t, s))); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, path, Options{schema: later(t, `CREATE TABLE anew AS SELECT * FROM projects;
		DROP TABLE projects; ALTER TABLE anew RENAME TO projects;
		CREATE TABLE anew AS SELECT * FROM builders; DELETE FROM builders; INSERT INTO builders SELECT * FROM anew; DROP TABLE anew`)})
	if n := len(builderNames(t, s)); n != 1 {
		t.Errorf("%d builders after the upgrade", n)
	}
	// From then on each statement is looked at again.
	if err := s.Update(t.Context(), addBuild(99)); err == nil {
		t.Error("a build of no builder")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A migration that fails, or leaves rows that refer to nothing, changes nothing.
func TestUpgradeFails(t *testing.T) {
	for name, tt := range map[string]struct{ script, want string }{
		"it is wrong":        {"SELECT x FROM nowhere", "no such table: nowhere"},
		"it breaks the rows": {"DELETE FROM builders", "1 rows of builds refer to nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.sqlite")
			s := openStore(t, path, Options{})
			if err := s.Update(t.Context(), addBuild(addBuilder(t, s))); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Open(t.Context(), path, Options{schema: later(t, tt.script)})
			if err == nil || !strings.Contains(err.Error(), "the database is as it was") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want it to say %q", err, tt.want)
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
