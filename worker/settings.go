package worker

import (
	"errors"
	"fmt"
	"math"
	"time"

	"buildstar/conn/wire"
)

// settings say how a command's output is cut into lines and messages
// (docs/protocol.md A.3). They never change; a command keeps those it was started
// with.
type settings struct {
	newlines newlines
	maxLine  int           // characters
	size     int           // cost of the entries that may wait (A.7)
	timeout  time.Duration // how long an entry may wait
	silence  time.Duration // after which the master is taken for gone; 0: never (A.10)
	leave    bool          // the master knows wire.OpLeave
}

// defaultSettings hold until the master sets others.
func defaultSettings() *settings {
	return &settings{newlines: replaceStock, maxLine: 4096, size: 64 << 10, timeout: 5 * time.Second}
}

// Bounds of what a master may ask for.
const (
	maxBuffer        = 16 << 20
	maxBufferTimeout = time.Hour
)

// parseSettings reads the args of set_worker_settings. Sizes beyond what can be done are
// cut to it: a longer line is then cut too, which loses nothing.
func parseSettings(a map[string]any) (*settings, error) {
	for _, key := range []string{wire.SetBufferSize, wire.SetBufferTimeout, wire.SetMaxLineLength, wire.SetNewlineRE} {
		if _, ok := a[key]; !ok {
			return nil, errors.New("message did not contain obligatory settings for worker")
		}
	}
	r := reader{args: a}
	size := r.number(wire.SetBufferSize)
	timeout := r.seconds(wire.SetBufferTimeout)
	line := r.number(wire.SetMaxLineLength)
	pattern := r.text(wire.SetNewlineRE)
	if r.err != nil {
		return nil, fmt.Errorf("set_worker_settings: %w", r.err)
	}
	silence, leave, err := parseOurs(a[wire.InfoOurs])
	if err != nil {
		return nil, fmt.Errorf("set_worker_settings: %w", err)
	}
	if !(size >= 1) || !(line >= 1) {
		return nil, errors.New("set_worker_settings: buffer_size and max_line_length must be at least 1")
	}
	nl, err := compileNewlines(pattern)
	if err != nil {
		return nil, fmt.Errorf("set_worker_settings: %w", err)
	}
	return &settings{
		newlines: nl,
		maxLine:  int(math.Min(line, wire.MaxLine)),
		size:     int(math.Min(size, maxBuffer)),
		timeout:  min(timeout, maxBufferTimeout),
		silence:  silence,
		leave:    leave,
	}, nil
}

// parseOurs reads what a master of ours can (docs/protocol.md A.10); a stock one says
// nothing.
func parseOurs(v any) (silence time.Duration, leave bool, err error) {
	ours, _ := v.(map[string]any)
	if ours[wire.OursSilence] != nil {
		r := reader{args: ours}
		silence, err = r.seconds(wire.OursSilence), r.err
	}
	return silence, ours[wire.OursLeave] != nil, err
}
