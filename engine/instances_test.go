package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/instance"
	"buildstar/engine/run"
	"buildstar/latent"
	"buildstar/state/sqlite"
)

// Where an instance finds the master: what masterFQDN says, else where the port listens.
func TestInstanceAddress(t *testing.T) {
	m := New(Options{})
	listen := config.Listen{Host: "127.0.0.1", Port: 0}
	s := config.New(config.Snapshot{Master: config.Master{WorkerListen: []config.Listen{listen}}})
	if _, _, _, err := m.instances.address(s, &config.Latent{}); err == nil {
		t.Error("an address without a listener")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	m.doors.open[doorKey(listen)] = &door{listener: &secured{Listener: ln}}
	port := ln.Addr().(*net.TCPAddr).Port
	for fqdn, want := range map[string]struct {
		host string
		port int
	}{"": {"127.0.0.1", port}, "ci": {"ci", port}, "ci:9": {"ci", 9}, "[fd00::1]:9": {"fd00::1", 9}} {
		host, p, tls, err := m.instances.address(s, &config.Latent{MasterFQDN: fqdn})
		if host != want.host || p != want.port || tls || err != nil {
			t.Errorf("%q: %s, %d, %v, %v", fqdn, host, p, tls, err)
		}
	}
	if host, err := ownHost(); err == nil && host == "" {
		t.Error("this host has no name")
	}
}

// haunted is a provider that runs things of itself.
type haunted struct {
	mu    sync.Mutex
	ghost int64 // the handle of what runs; 0: nothing
}

func (*haunted) Kind() string { return "haunted" }
func (*haunted) Varies() bool { return false }
func (*haunted) Render(context.Context, prop.Props) (latent.Arguments, error) {
	return nil, nil
}
func (h *haunted) Open(latent.Env) (latent.Backend, error) { return h, nil }
func (*haunted) Start(context.Context, latent.Launch) (s latent.Started, err error) {
	return s, errors.New("nobody starts this")
}

func (h *haunted) Stop(_ context.Context, in latent.Ref, _ bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if in.Handle == fmt.Sprint(h.ghost) {
		h.ghost = 0
	}
	return nil
}

func (h *haunted) List(context.Context) (refs []latent.Ref, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ghost != 0 {
		refs = append(refs, latent.Ref{Handle: fmt.Sprint(h.ghost)})
	}
	return refs, nil
}

// What nobody knows is stopped at the start, also if it comes a little later than that, or
// much later.
func TestReapAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "state.sqlite"), sqlite.Options{Log: quietLog()})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		m := New(Options{Logger: quietLog(), Store: store})
		if err := m.instances.begin(); err != nil {
			t.Fatal(err)
		}
		h := &haunted{ghost: 1}
		m.instances.ledger.Configure(map[string]instance.Config{"w": {Worker: &config.Worker{Name: "w", Latent: &config.Latent{Backend: h}}}})
		defer m.instances.ledger.Close(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			m.instances.run(ctx)
		}()
		for i, wait := range slices.Concat([]time.Duration{0}, looks, []time.Duration{lookOften, lookOften}) {
			if i > 0 {
				h.mu.Lock()
				h.ghost = int64(i) + 1
				h.mu.Unlock()
			}
			time.Sleep(wait)
			synctest.Wait()
			h.mu.Lock()
			if h.ghost != 0 {
				t.Errorf("%v later there is still %d", wait, h.ghost)
			}
			h.mu.Unlock()
		}
		cancel()
		<-ended
	})
}

// What people write into a property cannot pass for the mark of a secret.
func TestZeroByteInProperty(t *testing.T) {
	for _, v := range []any{"a\x00", []any{int64(1), "\x00"}, map[string]any{"a": []any{"\x00b"}}, map[string]any{"\x00": true}} {
		if !hasZeroByte(v) {
			t.Errorf("%#v has one", v)
		}
		l := &lease{worker: &config.Worker{Latent: &config.Latent{Backend: &haunted{}}}}
		_, err := l.Substantiate(t.Context(), run.Needs{Properties: map[string]any{"p": v}})
		var no *run.NoInstance
		if !errors.As(err, &no) || !no.Cannot {
			t.Errorf("%#v: %v", v, err)
		}
	}
	for _, v := range []any{nil, true, "a", []any{"b", int64(2)}, map[string]any{"a": 1.5}} {
		if hasZeroByte(v) {
			t.Errorf("%#v has none", v)
		}
	}
}
