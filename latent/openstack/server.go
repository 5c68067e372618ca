package openstack

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
)

// A server is what is known of a server.
type server struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Status   string            `json:"status"`
	Task     string            `json:"OS-EXT-STS:task_state"`
	Metadata map[string]string `json:"metadata"`
	Fault    struct {
		Message string `json:"message"`
	} `json:"fault"`
	Addresses map[string][]struct {
		Addr string `json:"addr"`
	} `json:"addresses"`
}

// gone reports whether there is no server any more; SOFT_DELETED ones are kept for who did
// not mean it, and removed in their time.
func (s *server) gone() bool {
	return s == nil || s.Status == "DELETED" || s.Status == "SOFT_DELETED"
}

// building reports whether it may still become what it is to be.
func (s *server) building() bool {
	return strings.HasPrefix(s.Status, "BUILD") || s.Status == "UNKNOWN"
}

// fails are states in which nothing runs in a server.
var fails = map[string]bool{
	"ERROR": true, "SHUTOFF": true, "SUSPENDED": true, "PAUSED": true, "SHELVED": true, "SHELVED_OFFLOADED": true,
}

// how says how a server is, with what Nova says is wrong.
func (s *server) how() string {
	switch {
	case s.gone():
		return "is gone"
	case s.Fault.Message != "":
		return fmt.Sprintf("is %s: %s", s.Status, s.Fault.Message)
	}
	return "is " + s.Status
}

// creation is a request for a server.
type creation struct{ server, beside map[string]any }

// ToServerCreateMap implements servers.CreateOptsBuilder.
func (c creation) ToServerCreateMap() (map[string]any, error) {
	body := map[string]any{"server": c.server}
	for k, v := range c.beside {
		body[k] = v
	}
	return body, nil
}

// grace is how long the answer to a create is waited for after the start was given up. Nova
// goes on with a create that nobody waits for, and Stop might look before it is listed.
const grace = 20 * time.Second

// create asks for a server, and returns its id. sent says that it may exist in spite of an
// error.
func (c *cloud) create(ctx context.Context, v version, what creation) (id string, sent bool, err error) {
	nova, err := c.compute(v)
	if err != nil {
		return "", false, err
	}
	if ctx.Err() != nil {
		return "", false, context.Cause(ctx)
	}
	ctx, cancel := lasting(ctx, grace)
	defer cancel()
	var out struct{ Server server }
	if err := servers.Create(ctx, nova, what, nil).ExtractInto(&out.Server); err != nil {
		err = fmt.Errorf("create server: %w", reason(err))
		said := status(err)
		return "", said == 0 || said >= http.StatusInternalServerError, blame(err)
	}
	return out.Server.ID, true, nil
}

// lasting returns a context that is cancelled a while after ctx.
func lasting(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() {
		stop()
		cancel()
	}
}

// server looks at a server; nil if there is none.
func (c *cloud) server(ctx context.Context, id string) (*server, error) {
	nova, err := c.compute(oldest)
	if err != nil {
		return nil, err
	}
	var s server
	if err := servers.Get(ctx, nova, url.PathEscape(id)).ExtractInto(&s); err != nil {
		if err = reason(err); status(err) == http.StatusNotFound {
			return nil, nil
		}
		return nil, fmt.Errorf("look at server %s: %w", id, err)
	}
	return &s, nil
}

// list returns the servers of a master: those of a worker, or all if that is "".
func (c *cloud) list(ctx context.Context, master, worker string) ([]server, error) {
	nova, err := c.compute(oldest)
	if err != nil {
		return nil, err
	}
	opts := servers.ListOpts{}
	if worker != "" {
		opts.Name = "^" + regexp.QuoteMeta(worker) + "$"
	}
	pages, err := servers.List(nova, opts).AllPages(ctx)
	if err != nil {
		return nil, fmt.Errorf("list servers: %w", reason(err))
	}
	var all, ours []server
	if err := servers.ExtractServersInto(pages, &all); err != nil {
		return nil, fmt.Errorf("list servers: %w", err)
	}
	for _, s := range all {
		if !s.gone() && s.Metadata[tagMaster] == master && (worker == "" || s.Metadata[tagWorker] == worker) {
			ours = append(ours, s)
		}
	}
	return ours, nil
}

// remove destroys a server, and returns once it is gone (fast: once Nova took the order).
func (c *cloud) remove(ctx context.Context, id string, fast bool) error {
	nova, err := c.compute(oldest)
	if err != nil {
		return err
	}
	deleting := false
	for pause := newPause(); ; {
		if !deleting {
			err := reason(servers.Delete(ctx, nova, url.PathEscape(id)).ExtractErr())
			switch {
			case err == nil && fast, status(err) == http.StatusNotFound:
				return nil
			case err != nil && status(err) != http.StatusConflict: // it is in the middle of something
				return fmt.Errorf("delete server %s: %w", id, err)
			}
		}
		s, err := c.server(ctx, id)
		if err != nil || s.gone() {
			return err
		}
		deleting = s.Task == "deleting" // else Nova gave it up
		if err := pause.wait(ctx); err != nil {
			return fmt.Errorf("delete server %s, which %s: %w", id, s.how(), err)
		}
	}
}

// console returns the last lines that a server wrote to its console.
func (c *cloud) console(ctx context.Context, id string, lines int) (string, error) {
	nova, err := c.compute(oldest)
	if err != nil {
		return "", err
	}
	out, err := servers.ShowConsoleOutput(ctx, nova, url.PathEscape(id), servers.ShowConsoleOutputOpts{Length: lines}).Extract()
	return out, reason(err)
}

// A pause is the time between two looks at a server: short at first.
type pause time.Duration

// The first and the longest pause (B7).
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 5 * time.Second
)

func newPause() *pause {
	p := pause(firstPause)
	return &p
}

// wait waits until it is time to look again.
func (p *pause) wait(ctx context.Context) error {
	timer := time.NewTimer(time.Duration(*p))
	defer timer.Stop()
	*p = pause(min(time.Duration(*p)*3/2, lastPause))
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var _ servers.CreateOptsBuilder = creation{}
