package instance

import (
	"fmt"
	"slices"
	"time"

	"buildstar/config"
	"buildstar/state"
)

// fullError is a cap that is reached.
type fullError struct{ text string }

func (e *fullError) Error() string { return e.text }

// Full returns why no instance may be started now because of caps, or "".
func Full(tx state.ReadTx, caps []config.InstanceCap, now state.Time) (string, error) {
	err := full(tx, caps, now)
	if f, ok := err.(*fullError); ok {
		return f.text, nil
	}
	return "", err
}

func full(tx state.ReadTx, caps []config.InstanceCap, now state.Time) error {
	if len(caps) == 0 {
		return nil
	}
	day := now - state.Time(24*time.Hour/time.Millisecond)
	rows, err := tx.Instances(state.Where("gone_at", nil))
	if err != nil {
		return err
	}
	if slices.ContainsFunc(caps, func(c config.InstanceCap) bool { return c.HoursPerDay > 0 }) {
		gone, err := tx.Instances(state.Query{Where: []state.Filter{{Field: "gone_at", Op: state.Ge, Values: []any{int64(day) / 1000}}}})
		if err != nil {
			return err
		}
		rows = append(rows, gone...)
	}
	for _, c := range caps {
		alive, used := 0, time.Duration(0)
		for _, r := range rows {
			if !slices.Contains(r.Caps, c.Name) {
				continue
			}
			end := r.GoneAt
			if end == 0 {
				alive++
				end = now
			}
			used += (end - max(r.CreatedAt, day)).Time().Sub(state.Time(0).Time())
		}
		switch {
		case c.MaxInstances > 0 && alive >= c.MaxInstances:
			return &fullError{fmt.Sprintf("cap %q is reached: %d of at most %d instances exist", c.Name, alive, c.MaxInstances)}
		case c.HoursPerDay > 0 && used.Hours() >= c.HoursPerDay:
			return &fullError{fmt.Sprintf("cap %q is reached: %.1f of at most %g hours of instances in the last 24", c.Name, used.Hours(), c.HoursPerDay)}
		}
	}
	return nil
}
