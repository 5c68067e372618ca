package sqlite

import (
	"errors"
	"fmt"
	"syscall"

	"buildstar/state"
	sqlite3 "modernc.org/sqlite"
)

// SQLite's primary result codes that mean something to us; extended codes have them
// in the low byte.
const (
	codeBusy     = 5
	codeReadOnly = 8
	codeIOErr    = 10
	codeCorrupt  = 11
	codeFull     = 13
	codeCantOpen = 14
	codeNotADB   = 26
)

// Extended codes of writing: these are how a full disk also shows itself.
const (
	codeIOErrRead      = codeIOErr | 1<<8
	codeIOErrShortRead = codeIOErr | 2<<8
)

// explain wraps an error of SQLite in what it means to people and to callers.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", state.ErrFull, err)
	}
	var e *sqlite3.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case codeFull:
		return fmt.Errorf("%w: %w", state.ErrFull, err)
	case codeIOErr:
		if e.Code() == codeIOErrRead || e.Code() == codeIOErrShortRead {
			return fmt.Errorf("the disk cannot be read: %w", err)
		}
		return fmt.Errorf("%w, or failing: %w", state.ErrFull, err)
	case codeBusy:
		return fmt.Errorf("another process has the database locked; stop it first: %w", err)
	case codeReadOnly:
		return fmt.Errorf("the database cannot be written; check the owner and the permissions of the file and its directory: %w", err)
	case codeCantOpen:
		return fmt.Errorf("check that the directory exists and may be written: %w", err)
	case codeCorrupt:
		return fmt.Errorf("the database is damaged; restore a backup, or move it away to start anew: %w", err)
	case codeNotADB:
		return fmt.Errorf("the file is not a database; restore a backup, or move it away to start anew: %w", err)
	}
	return err
}
