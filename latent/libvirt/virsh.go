package libvirt

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A host is one libvirt, as virsh reaches it.
type host struct {
	uri   string
	exec  runner
	slots chan struct{} // one for each virsh that may run
}

// maxCalls is how many virsh may be connected to one libvirt, which by default takes 20
// that have not authenticated yet (max_anonymous_clients).
const maxCalls = 8

// slots are those of all libvirts: the workers on one share them.
var slots sync.Map // string -> chan struct{}

func newHost(uri string, exec runner) *host {
	s, _ := slots.LoadOrStore(uri, make(chan struct{}, maxCalls))
	return &host{uri, exec, s.(chan struct{})}
}

// virsh runs one command of virsh.
func (h *host) virsh(ctx context.Context, c command, args ...string) (string, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	c.argv = append([]string{"virsh", "--quiet", "--connect", h.uri}, args...)
	return h.exec.run(ctx, c)
}

// names returns the names of the domains that run.
func (h *host) names(ctx context.Context) ([]string, error) {
	out, err := h.virsh(ctx, command{}, "list", "--name")
	return words(out), err
}

// words returns the lines that say something.
func words(out string) (lines []string) {
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// field returns a value of what virsh prints as "Name:   value".
func field(out, name string) string {
	for line := range strings.Lines(out) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// running returns what libvirt says of a domain that runs; nil if it does not. What virsh says of
// one that is not there and of one that cannot be asked for is the same, so the list decides.
func (h *host) running(ctx context.Context, name string) (*element, error) {
	names, err := h.names(ctx)
	if err != nil || !slices.Contains(names, name) {
		return nil, err
	}
	text, err := h.virsh(ctx, command{}, "dumpxml", "--security-info", "--domain", name)
	if err != nil {
		if names, again := h.names(ctx); again == nil && !slices.Contains(names, name) {
			return nil, nil // it ended meanwhile
		}
		return nil, err
	}
	return parseDomain(text)
}

// defined returns the definition that libvirt has under a name, "" if it has none.
func (h *host) defined(ctx context.Context, name string) (string, error) {
	out, err := h.virsh(ctx, command{}, "list", "--all", "--persistent", "--name")
	if err != nil || !slices.Contains(words(out), name) {
		return "", err
	}
	return h.virsh(ctx, command{}, "dumpxml", "--inactive", "--security-info", "--domain", name)
}

// createGrace is how much longer than its context a create may take: libvirt goes on with one
// whose virsh ended, and nobody would know for how long.
const createGrace = 30 * time.Second

// create makes a domain, which does not run yet if it is paused.
func (h *host) create(ctx context.Context, definition string, paused bool, lock *os.File) error {
	args := []string{"create", "--file", "/dev/stdin"}
	if paused {
		args = append(args, "--paused")
	}
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(createGrace, cancel) })
	defer stop()
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := h.virsh(longer, command{stdin: definition, lock: lock}, args...)
	return err
}

func (h *host) resume(ctx context.Context, name string) error {
	_, err := h.virsh(ctx, command{}, "resume", "--domain", name)
	return err
}

func (h *host) shutdown(ctx context.Context, name string) error {
	_, err := h.virsh(ctx, command{}, "shutdown", "--domain", name)
	return err
}

// destroy ends a domain; it succeeds if it does not run.
func (h *host) destroy(ctx context.Context, name string) error {
	_, err := h.virsh(ctx, command{}, "destroy", "--domain", name)
	if err != nil {
		if names, again := h.names(ctx); again == nil && !slices.Contains(names, name) {
			return nil
		}
	}
	return err
}

// state returns the state of a domain and why it is in it: "paused", "I/O error". It is ""
// if there is none of that name.
func (h *host) state(ctx context.Context, name string) (state, reason string, err error) {
	names, err := h.names(ctx)
	if err != nil || !slices.Contains(names, name) {
		return "", "", err
	}
	out, err := h.virsh(ctx, command{}, "domstate", "--reason", "--domain", name)
	if err != nil {
		if names, again := h.names(ctx); again == nil && !slices.Contains(names, name) {
			return "", "", nil // it ended meanwhile
		}
		return "", "", err
	}
	state, reason = parseState(out)
	return state, reason, nil
}

// parseState reads "running (booted)".
func parseState(out string) (state, reason string) {
	state, reason, _ = strings.Cut(strings.TrimSpace(out), " (")
	return strings.TrimSpace(state), strings.TrimSuffix(strings.TrimSpace(reason), ")")
}
