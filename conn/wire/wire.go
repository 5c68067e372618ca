// Package wire is the language that master and worker speak: one MessagePack map
// per WebSocket message (protocol msgpack_experimental_v7, docs/protocol.md).
//
// It encodes and decodes the messages, bounded against hostile bytes, and knows
// nothing of sockets: a [Transport] carries the messages, [Pipe] makes one in
// memory. Nothing here keeps state.
package wire

import "context"

// A Transport carries whole messages both ways. Read is called by one goroutine;
// Write, Ping and Close by any.
type Transport interface {
	// Read returns the next message. The bytes are valid until the next Read. The
	// error is permanent.
	Read() ([]byte, error)
	// Write sends one message; it does not keep p. It fails once the transport is
	// closed or the peer does not take bytes for too long.
	Write(p []byte) error
	// Ping asks the peer's transport for a sign of life and returns when it came.
	Ping(ctx context.Context) error
	// Close ends the transport at once; reason is for the peer, where it can be told.
	// Read and Write then fail. Closing twice is harmless.
	Close(reason string) error
}

// Entry is one [key, value] pair of an update.
type Entry struct {
	Key  string // "stdout", "stderr", "header", "log", "rc", "elapsed", "files", "stat", "failure_reason"
	Log  string // the log's name, when Key is "log"
	Text []byte // of stdout, stderr, header and log: whole lines, each ending in LF
	// Times are Unix times in milliseconds, one per line of Text, run-length coded; nil
	// if the peer's lists did not agree (docs/protocol.md 0.2 item 4).
	Times []TimeRun
	Value any // of other keys: int64, float64, string, []any
}

// TimeRun says that the next Lines lines were received at Millis.
type TimeRun struct {
	Lines  int
	Millis int64
}
