package engine

import (
	"context"
	"slices"
	"testing"
)

// A shutdown does not wait for ever for a local worker that does not stop, and says
// which one it is.
func TestLocalWorkerDoesNotStop(t *testing.T) {
	l := newLocals(nil)
	stuck := make(chan struct{})
	defer close(stuck)
	over := make(chan struct{})
	close(over)
	l.running["stuck"] = &localWorker{stop: func() {}, done: stuck}
	l.running["fine"] = &localWorker{stop: func() {}, done: over}
	l.wg.Go(func() { <-stuck })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if left := l.close(ctx); !slices.Equal(left, []string{"stuck"}) {
		t.Errorf("left: %v", left)
	}
}
