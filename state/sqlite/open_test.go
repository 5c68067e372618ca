package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildstar/state"
)

// run runs statements on a database file with a connection of its own.
func run(t *testing.T, path, text string) *sql.DB {
	t.Helper()
	db, err := openDB(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, path string)
		want string
	}{
		{"no directory", func(t *testing.T, path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}, "check that the directory exists"},
		{"text", func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("not a database\n"), 100), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "move it away to start anew"},
		{"damaged", func(t *testing.T, path string) {
			s := openStore(t, path, Options{})
			addBuilder(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := range data[100:] {
				data[100+i] = 0xa5
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "damaged"},
		{"newer", func(t *testing.T, path string) {
			s := openStore(t, path, Options{})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			run(t, path, "PRAGMA user_version=99; UPDATE compatibility SET schema=98").Close()
		}, fmt.Sprint("schema 99 and this version of buildstar knows up to ", len(later(t)))},
		{"of Buildbot", func(t *testing.T, path string) {
			run(t, path, "CREATE TABLE migrate_version (version INTEGER)").Close()
		}, "another program"},
		{"locked", func(t *testing.T, path string) {
			s := openStore(t, path, Options{})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			run(t, path, "BEGIN IMMEDIATE")
		}, "another process has the database locked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a b?#%41")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "state.sqlite")
			tt.make(t, path)
			s, err := Open(t.Context(), path, Options{busy: time.Millisecond})
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("err = %v\nwant it to name the file and say %q", err, tt.want)
			}
		})
	}
}

// A store keeps its rows and counts its openings.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.sqlite")
	for want := int64(1); want <= 3; want++ {
		s := openStore(t, path, Options{})
		var epoch int64
		err := s.Update(context.Background(), func(tx state.Tx) (err error) {
			epoch, err = tx.PutMaster(state.Master{Name: "m", Active: true})
			return err
		})
		if err != nil || epoch != want || s.Position().Epoch != want {
			t.Errorf("epoch %d, position %v, %v; want epoch %d", epoch, s.Position(), err, want)
		}
		if id := addBuilder(t, s); id != 1 {
			t.Errorf("the builder has id %d", id)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
