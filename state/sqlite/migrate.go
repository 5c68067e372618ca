package sqlite

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks our files: "bstr". Buildbot's own database has the same name.
const applicationID = 0x62737472

// prepareFile checks that the file is ours to use and brings its schema up to date.
func prepareFile(c *conn, path string) error {
	var mode string
	if err := c.row("PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("want journal_mode wal, got %q: the file system cannot do it (shared memory is needed); use a local disk", mode)
	}
	var app, version, tables int
	if err := c.row("PRAGMA application_id").Scan(&app); err != nil {
		return err
	}
	if err := c.row("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if err := c.row("SELECT count(*) FROM sqlite_master").Scan(&tables); err != nil {
		return err
	}
	if app != applicationID && (app != 0 || tables > 0) {
		return errors.New("this is the database of another program (Buildbot's has the same name): use another directory, or move the file away")
	}
	if err := migrate(c, version); err != nil {
		return err
	}
	// Whoever holds the write lock now is another process.
	if err := c.script("BEGIN IMMEDIATE; ROLLBACK"); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// migrate runs the scripts that a database of this version has not seen.
func migrate(c *conn, version int) error {
	scripts, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	if version > len(scripts) {
		return fmt.Errorf("the database has schema %d and this version of buildstar knows up to %d: run the newer version, or restore the backup made before it", version, len(scripts))
	}
	for n, name := range scripts[version:] {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		script := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT;",
			text, applicationID, version+n+1)
		if err := c.script(script); err != nil {
			return fmt.Errorf("migrate with %s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

// syncDir makes the creation of files in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
