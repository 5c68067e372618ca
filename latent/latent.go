// Package latent says what a latent worker is: a worker whose instances the master
// starts when a build needs one, and stops when none does.
//
// A backend (docker, script ...) makes the instances. It is two types: [Params], what
// master.star said, immutable and part of the configuration, and [Backend], what is
// done with it. The life of one worker's instance is the pure [Machine]; engine/instance
// carries out its actions and keeps the ledger.
//
// Whatever a backend does, the engine keeps this (docs/requirements.md A9):
//
//   - start and stop of one worker never overlap (A9.8, A9.12);
//   - every Start that was called is followed by a Stop that succeeded, also a Start that
//     failed, and also after a crash of the master (A9.9); one that fails is called again;
//   - a worker that connects before Start returned is up;
//   - a row of the ledger is on disk before Start is called.
package latent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"buildstar/config"
	"buildstar/config/prop"
)

// Params are the arguments of a latent worker that its backend knows: what
// config.Latent.Backend holds. They never change, and their exported fields are content:
// others mean that the next instance is another.
type Params interface {
	config.Backend // Kind is the name of the backend: "docker"
	// Render returns the arguments of an instance for a build, those that make instances
	// differ: an instance serves a build only if its Arguments are equal. An error is the
	// build's fault (A9.6) and need not wrap ErrCannotSubstantiate.
	Render(ctx context.Context, p prop.Props) (Arguments, error)
	// Varies reports whether Render depends on the properties
	// (builds_may_be_incompatible, A9.14).
	Varies() bool
	// Open returns the backend. It may reach for files, not for the network; what it holds
	// is freed by the garbage collector, or by Close if it is an io.Closer.
	Open(e Env) (Backend, error)
}

// Env is what a backend may use of the master.
type Env struct {
	// Master tags all instances of this master; it is the same for ever and differs from
	// those of others. It has letters and digits only.
	Master string
	// Basedir is the directory of the master: relative paths are below it.
	Basedir string
	// Binary is the path of the running buildstar.
	Binary string
	// Secret returns a secret by name.
	Secret func(ctx context.Context, name string) (string, error)
	// Instances returns the newest instances of this kind that the master started, also those
	// that are gone: a Lister whose provider depends on builds looks for strays where they
	// were. It is nil without a ledger.
	Instances func(ctx context.Context) ([]Ref, error)
}

// Arguments are what a build's properties made of the arguments of an instance: property
// values by name. They are kept in the ledger and compared, so a backend should have secrets
// in them by name only; docker and libvirt have what was rendered.
type Arguments map[string]any

// Equal reports whether an instance of a serves a build that needs b.
func (a Arguments) Equal(b Arguments) bool {
	return bytes.Equal(prop.AppendValue(nil, map[string]any(a)), prop.AppendValue(nil, map[string]any(b)))
}

// A Ref is one instance as the ledger knows it.
type Ref struct {
	Worker string
	// Attempt is unique among all instances of this master: with Env.Master it is what a
	// backend tags its instances with. 0 if Lister found an instance without it.
	Attempt int64
	// Handle is what Start returned, or Lister found: what Stop needs. "" if Start did not
	// return one: it failed, or the master ended before it was written down.
	Handle string
	// Arguments are those that it was started with; none if Lister found it.
	Arguments Arguments
}

// Launch is what an instance is started with.
type Launch struct {
	Ref             // without a handle
	Password string // what the worker logs in with
	// Host and Port are where the worker dials; TLS says that it must use wss. A host that is
	// an IPv6 address has no brackets.
	Host string
	Port int
	TLS  bool
	// Properties of the build that the instance is started for.
	Properties map[string]any
	// Log adds to the log of the start, which people see in the build and on the worker's
	// page. It may be called until Settled, from any goroutine; after that it does nothing.
	Log func(text string)
	// Settled is closed once the worker connected or the instance is about to be stopped:
	// there is no more to tell about the start.
	Settled <-chan struct{}
}

// URL is the address to dial, as a worker of this protocol takes it:
// ws://host:port.
func (l Launch) URL() string {
	scheme := "ws"
	if l.TLS {
		scheme = "wss"
	}
	return scheme + "://" + l.Address()
}

// Started is what a start came to.
type Started struct {
	// Handle is what Stop needs; it outlives the master. Not empty.
	Handle string
	// Info are short texts for the success status, such as an id (A9.7).
	Info []string
}

// A Backend starts and stops the instances of one worker. One goroutine at a time calls
// Start, Stop and Check. Calls end soon after ctx does; they have deadlines.
type Backend interface {
	// Start starts an instance. It need not wait for the worker to connect. An error that
	// wraps [ErrCannotSubstantiate] is the build's fault (A9.6), all others are the
	// infrastructure's (A9.5). After an error, and after ctx ended, Stop is called.
	Start(ctx context.Context, in Launch) (Started, error)
	// Stop destroys the instance, and returns once it is gone (fast: once it is certain
	// to go, A9.11). It succeeds if there is none. Without a handle it removes whatever a
	// Start of this Attempt left.
	Stop(ctx context.Context, in Ref, fast bool) error
}

// A Checker is a Backend that knows more about an instance that has not connected yet
// (A9.18).
type Checker interface {
	// Check is called from the return of Start until the worker connects, with a handle. Not
	// good: it will never connect. The message is shown, "" says nothing. An error is not good
	// too (A9.19).
	Check(ctx context.Context, in Ref) (good bool, message string, err error)
}

// A Matcher is a Backend that decides itself whether a running instance serves a build;
// without it Arguments.Equal does (A9.15).
type Matcher interface {
	Matches(ctx context.Context, running Ref, started, wanted Arguments, properties map[string]any) (bool, error)
}

// A Lister is a Backend that finds what this master started, whoever of its workers it is
// for: all instances of the account that have the tag Env.Master.
type Lister interface {
	// List may return some and an error, if it could not look everywhere.
	List(ctx context.Context) ([]Ref, error)
}

// ErrCannotSubstantiate is wrapped by errors of Start that are the fault of the build: its
// properties made an image name of nothing, say. The build ends EXCEPTION with the reason;
// the worker is not to blame.
var ErrCannotSubstantiate = errors.New("the build cannot have this worker")

// Cannotf returns an error that wraps ErrCannotSubstantiate and reads as the text.
func Cannotf(format string, args ...any) error { return &cannot{fmt.Errorf(format, args...)} }

type cannot struct{ error }

func (c *cannot) Is(target error) bool { return target == ErrCannotSubstantiate }
func (c *cannot) Unwrap() error        { return c.error }

// Address is host:port, with brackets around an IPv6 address.
func (l Launch) Address() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// SplitMaster reads what masterFQDN says: a host, with ":port" if instances dial another
// port than the one that the master listens at; port is 0 without one. An IPv6 address has
// brackets if there is a port, and may have them without (docs/requirements.md D2.6).
func SplitMaster(s string) (host string, port int, err error) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	if ip, err := netip.ParseAddr(bare); err == nil && (ip.Is6() || bare == s) {
		return bare, 0, nil
	}
	host = s
	if strings.ContainsAny(s, ":[]") {
		var text string
		if host, text, err = net.SplitHostPort(s); err != nil {
			return "", 0, fmt.Errorf("%q is neither HOST nor HOST:PORT; an IPv6 address with a port has brackets around it: [::1]:9989", s)
		}
		if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
			return "", 0, fmt.Errorf("%q: %q is no port", s, text)
		}
	}
	if host == "" || strings.ContainsAny(host, " /@") {
		return "", 0, fmt.Errorf("%q names no host", s)
	}
	return host, port, nil
}
