// Package worker runs the commands of a master: it is the other end of package
// conn, and what "buildstar worker" and LocalWorker are made of.
//
// It speaks msgpack_experimental_v7 (docs/protocol.md), so that a stock master
// can use it too. [Run] dials a master and comes back when the connection is lost;
// [Serve] is one session over any transport.
//
// One goroutine reads a session and never writes. One writes: answers first, then
// what the commands have to say. Each command is one goroutine that owns its output;
// one that runs a process has a reader for each pipe. A command whose output is not
// taken stops reading its pipes, so nothing is dropped and nothing grows.
//
// Processes, process groups and pseudo-terminals make this package Unix only; Linux is
// what is tested.
package worker

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"buildstar/conn/wire"
)

// Config says who a worker is and where it works. The zero value of each field but
// Basedir, and for Run also MasterURL and Name, is fine.
type Config struct {
	MasterURL string // ws://HOST:PORT or wss://HOST:PORT
	Name      string
	Password  string
	Basedir   string // created if missing; relative paths in commands start here
	Version   string // told to the master; default is that of the build
	// CAFile holds, as PEM, the certificates to trust for wss:// instead of the system's.
	CAFile string
	// Proxy is the HTTP proxy to connect through, http://HOST:PORT; default is that of the
	// environment: HTTPS_PROXY for wss://, HTTP_PROXY for ws://, NO_PROXY.
	Proxy string
	Info  map[string]string // more facts for the master: admin, host, access_uri, or any name
	// MaxRetries ends Run after so many failed attempts in a row; 0 means never.
	MaxRetries int
	// OrphanTimeout is how long commands may go on when Run has lost the connection. A
	// master of ours resumes them when it is back, and nothing of their output is lost
	// (docs/protocol.md F); another one can end them by their ids. 0 means that they are
	// killed at once.
	OrphanTimeout time.Duration
	// Leave, when it is closed, has the worker ask the master to be let go: it gets no more
	// builds and is told to shut down when those it has are over. Run also ends if there is
	// no master just then and no command. nil is never.
	Leave  <-chan struct{}
	Logger *slog.Logger // default slog.Default()
	// Dial connects Run to the master; nil: to MasterURL, as Name.
	Dial func(context.Context) (wire.Transport, error)
	// Backoff is how long Run waits after so many failures in a row; nil: 1.5 s and more,
	// up to a minute (docs/protocol.md A.9).
	Backoff func(failures int) time.Duration

	// Set by tests, which have less time.
	killWait     time.Duration
	leftoverWait time.Duration
	keep         int64
}

// prepare fills in defaults and creates the base directory.
func (c Config) prepare() (Config, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Name != "" {
		c.Logger = c.Logger.With("worker", c.Name)
	}
	if c.Version == "" {
		c.Version = buildVersion()
	}
	if c.killWait == 0 {
		c.killWait = killWait
	}
	if c.leftoverWait == 0 {
		c.leftoverWait = leftoverWait
	}
	if c.Backoff == nil {
		c.Backoff = func(failures int) time.Duration { return backOff(failures, rand.Float64()) }
	}
	if c.keep == 0 {
		c.keep = maxKeptBytes
	}
	if c.Basedir == "" {
		return c, fmt.Errorf("start worker %q: no basedir given", c.Name)
	}
	dir, err := filepath.Abs(c.Basedir)
	if err != nil {
		return c, fmt.Errorf("start worker %q: %w", c.Name, err)
	}
	c.Basedir = dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return c, fmt.Errorf("create basedir of worker %q: %w", c.Name, err)
	}
	return c, nil
}

// buildVersion is the module's version as the Go toolchain recorded it.
func buildVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		return b.Main.Version
	}
	return "devel"
}
