package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	lru "github.com/hashicorp/golang-lru/v2"

	"buildstar/latent"
)

// A cloud is an account that is logged in. All workers of the account share it, and its
// token is renewed when it has expired.
type cloud struct {
	provider *gophercloud.ProviderClient
	at       gophercloud.EndpointOpts
	looked   *lookups

	mu       sync.Mutex
	services map[string]*gophercloud.ServiceClient
}

// cloudKey tells clouds apart.
type cloudKey struct {
	digest    [32]byte
	transport http.RoundTripper
}

// open are the clouds that were used last.
var open = func() *lru.Cache[cloudKey, *cloud] {
	c, err := lru.New[cloudKey, *cloud](64)
	if err != nil {
		panic(err) // of a size that is no size
	}
	return c
}()

// requestTimeout bounds one request: Nova's own services wait a minute for each other.
const requestTimeout = 2 * time.Minute

// cloud returns the cloud of the worker, logged in.
func (b *backend) cloud(ctx context.Context) (*cloud, error) {
	a, err := b.params.account(ctx, b.env)
	if err != nil {
		return nil, err
	}
	key := cloudKey{a.digest, b.params.transport}
	if c, ok := open.Get(key); ok {
		return c, nil
	}
	c, err := login(ctx, a, b.params.transport)
	if err == nil {
		open.Add(key, c)
	}
	return c, err
}

// login logs in.
func login(ctx context.Context, a *account, transport http.RoundTripper) (*cloud, error) {
	p, err := openstack.NewClient(a.auth.IdentityEndpoint)
	if err != nil {
		return nil, fmt.Errorf("log in at %s: %w", a.auth.IdentityEndpoint, err)
	}
	p.HTTPClient = client(a, transport)
	p.UserAgent.Prepend("buildstar")
	p.RetryBackoffFunc, p.MaxBackoffRetries = backoff, 5
	if err := openstack.Authenticate(ctx, p, a.auth); err != nil {
		return nil, fmt.Errorf("log in at %s: %w", a.auth.IdentityEndpoint, reason(err))
	}
	return &cloud{provider: p, at: a.at, looked: newLookups(), services: make(map[string]*gophercloud.ServiceClient)}, nil
}

// client makes the HTTP client of an account.
func client(a *account, transport http.RoundTripper) http.Client {
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.IdleConnTimeout, t.TLSClientConfig = 30*time.Second, a.tls
		transport = t
	}
	return http.Client{Transport: transport, Timeout: requestTimeout}
}

// backoff waits before a request is sent again to a service that says that there are too
// many.
func backoff(ctx context.Context, e *gophercloud.ErrUnexpectedResponseCode, _ error, try uint) error {
	wait := time.Second << min(try, 5)
	if s, err := strconv.Atoi(e.ResponseHeader.Get("Retry-After")); err == nil && s >= 0 {
		wait = min(time.Duration(s)*time.Second, time.Minute)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// An opener makes a client of a service; it may ask the service which versions it has.
type opener func(*gophercloud.ProviderClient, gophercloud.EndpointOpts) (*gophercloud.ServiceClient, error)

// service returns a client of a service of the catalog.
func (c *cloud) service(what string, open opener) (*gophercloud.ServiceClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.services[what]; s != nil {
		return s, nil
	}
	s, err := open(c.provider, c.at)
	if err != nil {
		where := ""
		if c.at.Region != "" {
			where = fmt.Sprintf(" in region %q", c.at.Region)
		}
		return nil, fmt.Errorf("find the %s service%s: %w", what, where, reason(err))
	}
	c.services[what] = s
	return s, nil
}

// compute returns a client of Nova that asks for a microversion.
func (c *cloud) compute(v version) (*gophercloud.ServiceClient, error) {
	s, err := c.service("compute", openstack.NewComputeV2)
	if err != nil {
		return nil, err
	}
	own := *s
	own.Microversion = v.header()
	return &own, nil
}

// A refusal is an answer that says no.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// reason makes an error readable: what the service says, and not what was expected of it.
func reason(err error) error {
	var e gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &e) {
		var again *gophercloud.ErrErrorAfterReauthentication
		var unable *gophercloud.ErrUnableToReauthenticate
		if errors.As(err, &unable) {
			return fmt.Errorf("log in again: %w", reason(unable.ErrReauth))
		}
		if errors.As(err, &again) {
			return reason(again.ErrOriginal)
		}
		return err
	}
	text := said(e.Body)
	if text == "" {
		text = http.StatusText(e.Actual)
	}
	return &refusal{e.Actual, fmt.Sprintf("%s (%d from %s %s)", text, e.Actual, e.Method, e.URL)}
}

// said returns the message of an answer: {"badRequest": {"message": ...}}, {"message": ...},
// or the text of a page that a proxy made.
func said(body []byte) string {
	var answer any
	if json.Unmarshal(body, &answer) != nil {
		text := string(body)
		if strings.Contains(text, "<") {
			return ""
		}
		return strings.TrimSpace(text[:min(len(text), 300)])
	}
	return messageIn(answer)
}

func messageIn(v any) string {
	m, _ := v.(map[string]any)
	for _, key := range []string{"message", "detail"} {
		if s, ok := m[key].(string); ok && s != "" {
			return s
		}
	}
	for _, inner := range m {
		if s := messageIn(inner); s != "" {
			return s
		}
	}
	return ""
}

// status is that of the answer that an error is about, or 0.
func status(err error) int {
	var r *refusal
	if errors.As(err, &r) {
		return r.status
	}
	return 0
}

// blame makes an error the build's fault if the service says that what it was asked for is
// wrong, and not that it failed or has no room (docs/requirements.md A9.6, B7).
func blame(err error) error {
	switch status(err) {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusNotAcceptable:
		return latent.Cannotf("%w", err)
	}
	return err
}
