package state

import (
	"context"
	"io"
)

// LogStore keeps the text of logs: one append-only segment file per build, below
// logs/, compressed in frames. A frame carries the command and the number of the
// last update it holds, so that what is on disk and where to resume can never
// disagree (docs/architecture.md section 4, "log truth"). Methods are safe for
// concurrent use; readers see what Append returned from, at once.
type LogStore interface {
	// OpenBuild opens the segment of a build for appending, creating it if needed. An
	// incomplete frame at its end, left by a crash, is cut off. A build has one
	// writer.
	OpenBuild(buildID int64) (LogSegment, error)
	// ReopenBuild is OpenBuild for a build that goes on after a crash, with the logs that
	// have a row. What was written for others is cut off, and all that came after it: a
	// log whose row was lost gets another id.
	ReopenBuild(buildID int64, logIDs []int64) (LogSegment, error)
	// NumLines returns how many lines a log has.
	NumLines(buildID, logID int64) (int64, error)
	// Lines calls fn for the lines [from, from+limit) of a log, a run of consecutive
	// lines of one stream at a time; limit < 0 is "to the end". Text is whole
	// lines, each ending in LF, and valid only during the call. Memory use does not
	// depend on the size of the log.
	Lines(ctx context.Context, buildID, logID, from, limit int64, fn func(LogRun) error) error
	// Delete removes the logs of a build.
	Delete(buildID int64) error
	Close() error
}

// LogSegment is the open segment of one build. Appends to it may come from one
// goroutine at a time.
type LogSegment interface {
	// Append writes runs of whole lines and returns when they are in the file
	// (write(2), not fsync). An error that wraps ErrFull leaves the segment as it
	// was before: the append may be tried again.
	Append(logID int64, at Resume, runs ...LogRun) error
	// Resume returns the position of the newest append of a command.
	Resume(commandID string) (update int64, ok bool)
	// Sync makes the appended frames durable (fsync).
	Sync() error
	// Suspend syncs and ends appending: the build will go on later.
	Suspend() error
	// Close syncs, packs what was written in small pieces, and ends appending.
	io.Closer
}

// Resume is a place in the updates of a command.
type Resume struct {
	CommandID string
	Update    int64 // the number of the last update in this append, from 1
}

// LogRun is consecutive lines of one stream.
type LogRun struct {
	Stream byte   // 'o' stdout, 'e' stderr, 'h' header; 't' for logs that have no streams
	Text   []byte // whole lines, each ending in LF
	First  int64  // number of the first line; set by Lines, ignored by Append
	Times  []Time // when each line was received; nil: unknown. A shorter list repeats its last.
}
