// Package conn is the master's side of a worker's connection: login, information,
// settings, commands and their updates, files, and liveness.
//
// A [Server] accepts WebSockets and in-memory pipes, checks names and passwords
// with its [Host], and hands every worker that finished attaching to it as a
// [Session]. Commands are iterators of updates, so step code is a for loop.
//
// # Goroutines
//
// Each session has one at a time that lives as long as it does: the reader, which routes
// messages by op and seq_number and never writes; over a WebSocket the wait for the next
// message is a goroutine of its own, with a small stack. A writer exists only while
// something waits to be sent, and takes all that waits in one write. One more
// attaches the worker and runs Host.Attached; one tells the host of what comes later,
// one sends a ping now and then. Those end when they have, so that an idle worker is one
// goroutine.
// [Server.Shutdown] waits for all of them. Updates, blocks of files and completions
// are handled by the goroutine that ranges over [Session.Run].
//
// # Commands that outlive a connection
//
// A worker of ours keeps what a command says until it was acknowledged, and goes on
// without a connection ([WorkerInfo.Life]). Its next session lists such commands
// ([Session.Held]); Run with [Command.From] resumes one, [Session.Interrupt] ends one, and
// one that is neither is ended by the worker after a time (docs/protocol.md F).
//
// # Bounds
//
//   - a message: 80 MiB ([wire.MaxFrame]); a longer one ends the session with
//     [ErrFrameTooBig];
//   - what a command has sent and its loop has not taken: 1 MiB (or one message);
//     beyond it the reader waits, so that the socket fills and the worker stops.
//     While it waits no message of that worker is read, and its clock stands still:
//     a loop must not wait for something else from the same session;
//   - answers and requests waiting to be sent: 16,384 or 32 MiB, then the session
//     ends; one write takes at most 60 s;
//   - files: one block in memory at a time, of at most 1 MiB to the worker;
//   - refused logins remembered: 4,096 pairs of address and name; delayed: 256;
//   - ids of commands that ran when their connection was lost: 1,000 a worker.
//
// What a peer sends, however hostile, costs at most its own connection.
package conn

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"time"

	"buildstar/config/prop"
	"buildstar/conn/wire"
)

// Host is who the server asks and tells: the engine. Its methods may be called
// from many goroutines.
type Host interface {
	// Login returns nil if a worker of this name may connect with this password, or an
	// error that wraps ErrUnknownWorker or ErrBadPassword and says what is wrong
	// (docs/requirements.md A1.8).
	Login(name, password string) error
	// Attached is called once a worker has told its information and taken its settings.
	// The session belongs to the host until it is Done. Attached, Leaves and Detached have
	// a goroutine of their own, and one session's come in this order, one after the other;
	// all three may block.
	Attached(Session)
	// Leaves is called when the worker asked to be told to shut down once it is idle, at
	// most once a session. Only our own workers can.
	Leaves(Session)
	// Detached is called when a session that attached is Done.
	Detached(Session)
	// AttachFailed is called when a worker logged in and did not get so far, through no
	// fault of the master or of another worker.
	AttachFailed(name string, why error)
}

// Why a login is refused.
var (
	ErrUnknownWorker = errors.New("unknown worker")
	ErrBadPassword   = errors.New("wrong password")
)

// How a session or a command ends other than by itself.
var (
	// ErrLost is wrapped by what a Session returns when its connection is gone.
	ErrLost = errors.New("connection to worker lost")
	// ErrDropped is wrapped, with ErrLost, when the master itself ended the session.
	ErrDropped = errors.New("closed by the master")
	// ErrHeld is wrapped when Ping was not answered because the loop over some command's
	// updates holds back all that the worker says.
	ErrHeld = errors.New("the master is behind with reading from the worker")
	// ErrFrameTooBig is wrapped, and ErrLost is not, when the worker sent a message that
	// is too long: running the same again would end the same way (docs/protocol.md D 3).
	ErrFrameTooBig = errors.New("the worker sent a message of more than 80 MiB (one line of more than 16 Mi characters?)")
	// ErrNotStopped is wrapped when an interrupted command did not end in time. The
	// session stays usable; the command may live on and is interrupted again when its
	// worker next attaches.
	ErrNotStopped = errors.New("the interrupted command did not end")
)

// Session is one connected worker. Methods are safe for concurrent use.
type Session interface {
	Name() string
	Info() WorkerInfo
	RemoteAddr() net.Addr
	// Run sends a command and yields its updates until it completes; a range over
	// them is the step's code. The worker's updates in a yielded Update are answered
	// when the body asks for the next one, so a body that wrote them to the log has
	// them on disk by then; the body may keep what it was given. The iterator must be
	// ranged over, once; breaking out of it interrupts the command. After ctx is
	// cancelled the command is interrupted and the iterator still yields until
	// `complete`, or 6 s + SigtermTime (the worker takes 5 s, 1 s is for the way). The
	// last pair may carry an error and then no entries: a *RemoteError when the worker
	// reported one, one that wraps ErrLost when the connection went, ErrFrameTooBig or
	// ErrNotStopped. Run itself fails if the worker refuses the command
	// (*RemoteError), if ctx ends before it answered, or if an argument has no type on
	// the wire.
	Run(ctx context.Context, c Command) (iter.Seq2[Update, error], error)
	// Held returns the commands of earlier sessions that the worker had when it attached.
	Held() []Held
	// Acknowledge tells the worker that commands are done with: nothing they said will be
	// asked for again. It does not wait.
	Acknowledge(commandIDs ...string)
	// AcknowledgeUpdates is Acknowledge for the updates of a command up to a number.
	AcknowledgeUpdates(commandID string, through int64)
	// Interrupt ends a command of an earlier session by its id (docs/protocol.md 0.2
	// item 10); unknown ids are no error. If it is one of Held, it and its processes are
	// gone when Interrupt returns.
	Interrupt(ctx context.Context, commandID, why string) error
	// Ping returns when the worker answered a print.
	Ping(ctx context.Context) error
	// SetKeepalive says how often the worker gets a message that only keeps bytes
	// flowing. 0 sends none, and no pings either: only TCP then finds out that the
	// worker is gone. A new session has pings and no keepalives.
	SetKeepalive(every time.Duration)
	// Shutdown tells the worker's process to exit.
	Shutdown(ctx context.Context) error
	// Close ends the connection; why is logged and told where possible.
	Close(why string)
	Done() <-chan struct{}
	// Err says why the session ended; nil before Done.
	Err() error
}

// Command is one command for a worker. Paths in Args are absolute
// (docs/protocol.md A.6).
type Command struct {
	ID   string // never repeats, not even after a restart; empty: the server makes one
	Name string // "shell", "upload_file" ...
	Args map[string]any
	// Token, if it is not nil, has a worker that can do so keep what the command says until
	// it is acknowledged. The worker gives it back in Held.
	Token []byte
	// From resumes a command of an earlier session, with its updates from this number on;
	// Name and Args are not sent then. Each message is an Update of its own. A cancelled ctx
	// does not keep a command from being resumed: it is interrupted then. A transfer begins
	// anew.
	From int64
	// Upload receives what upload_file or upload_directory sends: a file's bytes, or
	// those of a tar. A Write that fails aborts the upload.
	Upload io.Writer
	// Stamp is told the times of an uploaded file, in seconds, if the worker sends
	// them.
	Stamp func(accessed, modified float64)
	// Download is what download_file reads.
	Download io.Reader
	// SigtermTime is how many seconds the worker waits between SIGTERM and the kill.
	SigtermTime float64
}

// Update is what one or more update messages of a command said, in order.
type Update struct {
	Entries []wire.Entry
	Number  int64 // of the last message in it, counting from 1
}

// Held is a command that outlived its connection.
type Held struct {
	ID    string
	Next  int64  // number of the update that comes next; 0: the worker has ended it and has nothing left
	First int64  // number of the first update that can be had again
	Token []byte // of Command
}

// RemoteError is an error that the worker reported.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return e.Text }

// WorkerInfo is what a worker said about itself.
type WorkerInfo struct {
	Facts    prop.Facts        // admin, host, version, numcpus, system, basedir, os_* ...: everything but the rest
	Environ  map[string]string // HOME and the like, for ~ in paths; never stored or shown (docs/requirements.md B1)
	Commands map[string]string // name -> version
	Basedir  string
	System   string // "posix" or "nt"
	Version  string
	Ours     bool // our own worker: knows buildstar's extensions
	// Life names the process of a worker whose commands outlive their connection: as long
	// as it is the same, a command that was sent and is not Held never began. "" for a
	// worker that cannot do that.
	Life string
}
