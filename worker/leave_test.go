package worker

import (
	"context"
	"errors"
	"testing"

	"buildstar/conn/wire"
)

// ours sets the settings as a master does that can be asked to leave.
func (m *master) ours() {
	m.t.Helper()
	args := map[string]any{wire.SetNewlineRE: wire.NoNewlines, wire.SetMaxLineLength: 100, wire.SetBufferSize: 100, wire.SetBufferTimeout: 1,
		wire.InfoOurs: map[string]any{wire.OursLeave: 1}}
	if got := m.request(wire.OpSetWorkerSettings, map[string]any{wire.KeyArgs: args}); got.exception {
		m.t.Fatalf("set_worker_settings: %v", got.result)
	}
}

// shutdown lets the worker go, and returns how often it had asked to.
func (m *master) shutdown() int {
	m.t.Helper()
	m.request(wire.OpShutdown, nil)
	if err := <-m.served; err != nil {
		m.t.Errorf("Serve = %v", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leaves
}

// docs/protocol.md A.10: asked to leave, the worker asks a master that knows how, once.
func TestLeave(t *testing.T) {
	leave := make(chan struct{})
	m := startWorkerIn(t, t.TempDir(), func(c *Config) { c.Leave = leave })
	m.ours()
	close(leave)
	m.wait("the wish to leave", func() bool { return m.leaves == 1 })
	m.ours() // as after a reload
	if n := m.shutdown(); n != 1 {
		t.Errorf("it asked %d times", n)
	}
}

// A stock master is not asked what it does not know.
func TestLeaveOfStockMaster(t *testing.T) {
	leave := make(chan struct{})
	close(leave)
	m := startWorkerIn(t, t.TempDir(), func(c *Config) { c.Leave = leave })
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	m.request(wire.OpKeepalive, nil)
	if n := m.shutdown(); n != 0 {
		t.Errorf("it asked %d times", n)
	}
}

// Without a master, and with nothing that runs, there is nobody to ask.
func TestLeaveWithoutMaster(t *testing.T) {
	leave := make(chan struct{})
	dials := 0
	err := Run(t.Context(), Config{MasterURL: "ws://127.0.0.1:1", Name: "w", Basedir: t.TempDir(), Logger: discard(), Leave: leave,
		Dial: func(context.Context) (wire.Transport, error) {
			if dials++; dials == 2 {
				close(leave)
			}
			return nil, errors.New("nobody is there")
		}})
	if err != nil || dials != 2 {
		t.Errorf("Run = %v after %d attempts", err, dials)
	}
}
