package worker

import (
	"fmt"
	"math"
	"time"
)

// A reader takes the arguments of one command; it remembers the first thing that is
// wrong with them. A missing optional argument and None are the same.
type reader struct {
	args map[string]any
	err  error
}

func (r *reader) bad(key, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("argument %s: want %s, got %T", key, want, r.args[key])
	}
}

// text returns a mandatory text. Bytes count as text (docs/protocol.md A.2).
func (r *reader) text(key string) string {
	s, ok := asText(r.args[key])
	if !ok {
		r.bad(key, "text")
	}
	return s
}

// textOr returns an optional text.
func (r *reader) textOr(key, otherwise string) string {
	if r.args[key] == nil {
		return otherwise
	}
	return r.text(key)
}

// path returns a mandatory path.
func (r *reader) path(key string) string {
	s := r.text(key)
	if s == "" {
		r.bad(key, "a path that is not empty")
	}
	return s
}

// paths returns a mandatory list of at least one path.
func (r *reader) paths(key string) []string {
	list, ok := r.args[key].([]any)
	if !ok || len(list) == 0 {
		r.bad(key, "a list of paths")
		return nil
	}
	out := make([]string, len(list))
	for i, v := range list {
		if out[i], ok = asText(v); !ok || out[i] == "" {
			r.bad(key, "a list of paths")
		}
	}
	return out
}

func asText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

// number returns an optional number; 0 if absent.
func (r *reader) number(key string) float64 {
	switch v := r.args[key].(type) {
	case nil:
		return 0
	case int64:
		return float64(v)
	case float64:
		if !math.IsNaN(v) {
			return v
		}
	}
	r.bad(key, "a number")
	return 0
}

// integer returns an optional whole number; otherwise if absent.
func (r *reader) integer(key string, otherwise int64) int64 {
	switch v := r.args[key].(type) {
	case nil:
		return otherwise
	case int64:
		return v
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	}
	r.bad(key, "a whole number")
	return otherwise
}

// longest is as long as a timeout can be.
const longest = 30 * 365 * 24 * time.Hour

// seconds returns an optional time span in seconds; 0 if absent, 0 or negative.
func (r *reader) seconds(key string) time.Duration {
	s := r.number(key)
	switch {
	case s <= 0:
		return 0
	case s >= longest.Seconds():
		return longest
	}
	return time.Duration(s * float64(time.Second))
}

// flag returns an optional boolean.
func (r *reader) flag(key string, otherwise bool) bool {
	switch v := r.args[key].(type) {
	case nil:
		return otherwise
	case bool:
		return v
	case int64:
		return v != 0
	}
	r.bad(key, "True or False")
	return otherwise
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}
