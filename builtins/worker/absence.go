package worker

import (
	"fmt"
	"strings"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// absence is what happens when a worker that people start is away (A4).
type absence struct {
	// NotifyOnMissing is the mail address, or a list of them, of who hears of it when the
	// worker is missing: one mail each time it is lost and does not come back (A4).
	NotifyOnMissing addresses `star:"notify_on_missing,optional"`
	// MissingTimeout is how long the worker must be away for that; the default is an hour.
	// None and 0 mean that it is never missing.
	MissingTimeout *time.Duration `star:"missing_timeout,optional" min:"0"`
}

func anHour() absence {
	hour := time.Hour
	return absence{MissingTimeout: &hour}
}

// note puts it into the node.
func (a *absence) note(c *spec.Call, n *config.Worker) {
	a.NotifyOnMissing.check(c)
	n.NotifyOnMissing = a.NotifyOnMissing
	if a.MissingTimeout != nil {
		n.MissingTimeout = *a.MissingTimeout
	}
}

// addresses is one address or a list.
type addresses []string

// TypeName is what messages call it.
func (addresses) TypeName() string { return "address or list of addresses" }

func (a addresses) check(c *spec.Call) {
	for _, address := range a {
		if strings.TrimSpace(address) == "" || strings.ContainsAny(address, "\r\n") {
			c.Problem("bad-value", "notify_on_missing", fmt.Sprintf("%q is no mail address", address), "")
		}
	}
}

// FromValue reads it.
func (a *addresses) FromValue(v any) error {
	if v == nil {
		return nil
	}
	if s, ok := v.(string); ok {
		*a = addresses{s}
		return nil
	}
	list, err := prop.Convert[[]string](v)
	*a = list
	return err
}
