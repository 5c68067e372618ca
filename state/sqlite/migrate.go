package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks our files: "bstr". Buildbot's own database has the same name.
const applicationID = 0x62737472

// schema is the scripts that make it, in order: a database of version n has seen the
// first n of them.
type schema []string

// ours returns the scripts of this version of buildstar.
func ours() (schema, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var s schema
	for _, name := range names {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s = append(s, string(text))
	}
	return s, nil
}

// prepareFile checks that the file is ours to use, and makes the schema of a new one.
func prepareFile(c *conn, path string, s schema) error {
	var mode string
	if err := c.row("PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("want journal_mode wal, got %q: the file system cannot do it (shared memory is needed); use a local disk", mode)
	}
	app, version, err := identify(c)
	if err != nil {
		return err
	}
	var tables int
	if err := c.row("SELECT count(*) FROM sqlite_master").Scan(&tables); err != nil {
		return err
	}
	if app != applicationID && (app != 0 || tables > 0) {
		return errors.New("this is the database of another program (Buildbot's has the same name): use another directory, or move the file away")
	}
	switch {
	case version == 0:
		err = s.run(c, 0)
	case version > len(s):
		err = s.usable(c, version)
	}
	if err != nil {
		return err
	}
	// Whoever holds the write lock now is another process.
	if err := c.script("BEGIN IMMEDIATE; ROLLBACK"); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// identify returns whose database it is, and its version.
func identify(c *conn) (app, version int, err error) {
	if err := c.row("PRAGMA application_id").Scan(&app); err != nil {
		return 0, 0, err
	}
	return app, version, c.row("PRAGMA user_version").Scan(&version)
}

// run runs the scripts that a database of this version has not seen, all or none.
func (s schema) run(c *conn, version int) error {
	script := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT;",
		strings.Join(s[version:], ";\n"), applicationID, len(s))
	if err := c.script(script); err != nil {
		return fmt.Errorf("bring the schema from %d to %d: %w", version, len(s), err)
	}
	return nil
}

// usable returns nil if a database of a newer schema can be used all the same: a newer
// version of buildstar says so in it, so that one can go one version back.
func (s schema) usable(c *conn, version int) error {
	var oldest int
	if err := c.row("SELECT schema FROM compatibility").Scan(&oldest); err != nil {
		return err
	}
	if oldest > len(s) {
		return fmt.Errorf("the database has schema %d and this version of buildstar knows up to %d: run the newer version, or restore the backup made before it (docs/upgrade.md)", version, len(s))
	}
	return nil
}

// upgrade brings the database at path up to date, if it is ours and older. That happens
// on a copy, which takes its place only when all went well; what was there stays beside
// it under another name.
func (s schema) upgrade(ctx context.Context, path string, o Options) error {
	if _, err := os.Stat(path); err != nil {
		return nil // a new one is made, or opening it says what is wrong
	}
	copied, backup := path+".migrating", ""
	err := with(ctx, path, o, func(c *conn) error {
		app, version, err := identify(c)
		if err != nil || app != applicationID || version == 0 || version >= len(s) {
			return err
		}
		if err := os.Remove(copied); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		backup = fmt.Sprintf("%s.schema%d", path, version)
		o.Log.Info("bringing the database up to date", "from", version, "to", len(s), "backup", backup)
		_, err = c.exec("VACUUM INTO ?", copied)
		return err
	})
	if err != nil || backup == "" {
		return err
	}
	if err := with(ctx, copied, o, s.upgradeCopy); err != nil {
		return fmt.Errorf("%w (the database is as it was; %s is the attempt)", err, copied)
	}
	if left, err := os.Stat(path + "-wal"); err == nil && left.Size() > 0 {
		return fmt.Errorf("somebody else uses the database: %s is not empty", left.Name())
	}
	// The name is never without a database: a crash leaves the old one or the new one.
	if err := os.Remove(backup); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(path, backup); err != nil {
		return err
	}
	if err := os.Rename(copied, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// upgradeCopy runs the scripts and looks whether all is well. What refers to what is looked
// at in the end, not with each statement: a script may make a table anew.
func (s schema) upgradeCopy(c *conn) error {
	_, version, err := identify(c)
	if err != nil {
		return err
	}
	if err := c.script("PRAGMA foreign_keys=0"); err != nil {
		return err
	}
	if err := s.run(c, version); err != nil {
		return err
	}
	return check(c)
}

// check finds what is wrong with a database.
func check(c *conn) error {
	var verdict string
	if err := c.row("PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("check the database after bringing it up to date: %s", verdict)
	}
	var broken int
	var tables string
	err := c.row(`SELECT count(*), coalesce(group_concat(DISTINCT "table"), '') FROM pragma_foreign_key_check`).Scan(&broken, &tables)
	if err == nil && broken > 0 {
		err = fmt.Errorf("check the database after bringing it up to date: %d rows of %s refer to nothing", broken, tables)
	}
	return err
}

// with opens a database for fn, and closes it completely.
func with(ctx context.Context, path string, o Options, fn func(*conn) error) error {
	db, err := openDB(path, o.busy)
	if err != nil {
		return err
	}
	c, err := pin(ctx, db)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	err = fn(c)
	return errors.Join(err, c.close(), db.Close())
}

// syncDir makes the creation of files in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
