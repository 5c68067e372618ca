package latent

import (
	"context"
	"encoding"
	"fmt"
)

// A Doctor is a Backend that can examine what its instances depend on: `buildstar doctor`
// shows that. No master need run, so Env.Master may be a tag that nothing has.
type Doctor interface {
	// Examine looks, and changes nothing. It reports its findings as it makes them, from one
	// goroutine at a time, until it returns; it ends soon after ctx does.
	Examine(ctx context.Context, report func(Finding))
}

// A Finding is one thing that a Doctor looked at.
type Finding struct {
	// Check is what was looked at, in a few words: "reach https://...", "credentials", "image".
	Check string `json:"check"`
	// Health is how it is.
	Health Health `json:"health"`
	// Text is what was found: a number, a version, an error.
	Text string `json:"text"`
	// Fix is what to do about it; "" if that is clear, or if there is nothing to do.
	Fix string `json:"fix,omitempty"`
}

// Health is how well a thing that instances depend on is.
type Health uint8

// The healths, in the order of how bad they are.
const (
	Fine     Health = iota
	Doubtful        // instances start, but not all or not always; or it could not be found out
	Ill             // no instance can start
)

var _ encoding.TextMarshaler = Fine

// String returns "fine", "doubtful" or "ill".
func (h Health) String() string {
	if int(h) < len(healths) {
		return healths[h]
	}
	return fmt.Sprintf("Health(%d)", uint8(h))
}

var healths = [...]string{"fine", "doubtful", "ill"}

// MarshalText makes h readable in JSON.
func (h Health) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// Examined returns the finding of a check that ended with an error, or with what it found.
func Examined(check, found string, err error, fix string) Finding {
	if err != nil {
		return Finding{Check: check, Health: Ill, Text: err.Error(), Fix: fix}
	}
	return Finding{Check: check, Text: found}
}
