package run

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"buildstar/conn"
	"buildstar/state"
)

// Who was silent before the connection was given up was out of touch all that time.
func TestLastTouch(t *testing.T) {
	for why, want := range map[error]state.Time{
		nil:                100_000,
		errors.New("read"): 100_000,
		fmt.Errorf("%w: worker w: %w", conn.ErrLost, conn.Silence(60*time.Second)): 40_000,
	} {
		if got := lastTouch(100_000, why); got != want {
			t.Errorf("%v: %d, want %d", why, got, want)
		}
	}
}
