package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine"
)

// outcomeName is the file of a basedir in which a running master keeps what came of
// its newest reload. It is how `buildstar reconfig` learns that without a web server.
const outcomeName = "reload.json"

// outcome counts the reloads of a master from 1. A reload whose number is above a
// Began that somebody read has begun after that, so it saw what the files were then.
type outcome struct {
	Began int    `json:"began"` // number of the newest one
	Ended int    `json:"ended"` // number of the newest one that ended; the rest is about it
	Error string `json:"error,omitempty"`
	// Problems are what is wrong with the configuration, without source lines.
	Problems   prop.Problems `json:"problems,omitempty"`
	Generation int64         `json:"generation,omitempty"`
	Diff       config.Diff   `json:"diff"`
}

// outcomes writes the file. Reloads never overlap, so neither do its calls.
type outcomes struct {
	dir  string
	last outcome
}

// begin forgets what an earlier master left; no reload has begun.
func (o *outcomes) begin() error {
	err := os.Remove(filepath.Join(o.dir, outcomeName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// began says that a reload begins.
func (o *outcomes) began() error {
	o.last.Began++
	return o.write(o.last)
}

// ended says what came of it.
func (o *outcomes) ended(done engine.Reloaded, err error) error {
	o.last = outcome{Began: o.last.Began, Ended: o.last.Began, Generation: done.Generation, Diff: done.Diff}
	o.last.Diff.Kept = nil
	if err != nil && !errors.As(err, &o.last.Problems) {
		o.last.Error = err.Error()
	}
	return o.write(o.last)
}

// write replaces the file at once: readers see the old one or the new one.
func (o *outcomes) write(v outcome) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	name := filepath.Join(o.dir, outcomeName)
	if err := os.WriteFile(name+".new", append(data, '\n'), 0o600); err != nil {
		os.Remove(name + ".new")
		return fmt.Errorf("write the outcome of a reload: %w", err)
	}
	return os.Rename(name+".new", name)
}

// readOutcome returns what the file of a basedir says; the zero outcome if no reload
// has begun.
func readOutcome(dir string) (o outcome, err error) {
	data, err := os.ReadFile(filepath.Join(dir, outcomeName))
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	} else if err != nil {
		return o, err
	}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&o); err != nil {
		return o, fmt.Errorf("read %s: %w", outcomeName, err)
	}
	return o, nil
}
