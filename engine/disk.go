package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"buildstar/state"
)

// probeSize is how much must fit on the disk before builds start again.
const probeSize = 1 << 20

// disk knows whether the master can write. While it cannot, no build starts.
type disk struct {
	m     *Master
	mu    sync.Mutex
	since state.Time
	wake  chan struct{}
}

func newDisk(m *Master) *disk { return &disk{m: m, wake: make(chan struct{}, 1)} }

// note looks at an error of a write.
func (d *disk) note(err error) {
	if !errors.Is(err, state.ErrFull) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since != 0 {
		return
	}
	d.since = state.Now()
	d.m.dist.SetDiskFull(d.since)
	d.m.log.Error("the disk is full: no builds are started until a write succeeds again")
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *disk) full() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.since != 0
}

// run tries a full disk again, every few seconds.
func (d *disk) run(ctx context.Context) {
	for {
		select {
		case <-d.wake:
		case <-ctx.Done():
			return
		}
		for d.full() {
			timer := time.NewTimer(d.m.o.ProbeDisk)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
			if err := d.probe(ctx); err != nil {
				d.m.log.Debug("the disk is still full", "error", err)
				continue
			}
			d.clear()
		}
	}
}

func (d *disk) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since = 0
	d.m.dist.SetDiskFull(0)
	d.m.log.Info("the disk can be written again")
}

// probe writes a row, and a file as big as a few logs.
func (d *disk) probe(ctx context.Context) error {
	err := d.m.o.Store.Update(ctx, func(tx state.Tx) error {
		_, err := tx.PutMaster(state.Master{Name: d.m.o.Name, Active: true, LastActive: state.Now()})
		return err
	})
	if err != nil || d.m.o.Basedir == "" {
		return err
	}
	name := filepath.Join(d.m.o.Basedir, ".space")
	defer os.Remove(name)
	if err := os.WriteFile(name, make([]byte, probeSize), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
