package dist

import (
	"context"
	"fmt"

	"buildstar/state"
)

// Explain says why a request waits; row is as the state has it, neither claimed nor
// complete. ok is false if it no longer waits. It waits for the distributor's
// goroutine.
func (d *Distributor) Explain(ctx context.Context, row state.BuildRequest) (x Explanation, ok bool, err error) {
	done := make(chan struct{})
	d.mail.post(func() {
		if d.index.byID[row.ID] == nil && !d.placed(row.ID) {
			d.event(ctx, state.Event{Row: row}) // its own event is on the way
		}
		x, ok = d.explain(row.ID)
		close(done)
	})
	select {
	case <-done:
		return x, ok, nil
	case <-ctx.Done():
		return x, false, ctx.Err()
	}
}

// placed reports whether a build of the request was started.
func (d *Distributor) placed(requestID int64) bool {
	for _, p := range d.places {
		if p.start.Request.ID == requestID {
			return true
		}
	}
	return false
}

// explain decides for the request's builder alone and returns the reasons of that
// decision.
func (d *Distributor) explain(requestID int64) (Explanation, bool) {
	e := d.index.byID[requestID]
	if e == nil {
		return Explanation{}, false
	}
	v := d.view()
	x := Explanation{RequestID: requestID, State: "waiting", At: v.Now}
	b := d.builders[e.BuilderID]
	if b == nil {
		x.Reasons = []Reason{{Code: "no-builder", Text: "its builder is no longer configured", Unblock: "the configuration has it again"}}
		x.Summary = x.Reasons[0].Text
		return x, true
	}
	x.Builder = b.Name
	d.look(&v, e.BuilderID)
	assignments, reasons := assign(&v)
	x.Position = 1
	for _, o := range d.index.builders[e.BuilderID].ready {
		if o != e && o.before(&e.Request) {
			x.Position++
		}
	}
	if e.NotBefore > v.Now {
		x.Reasons = append(x.Reasons, Reason{
			Code: "retry", Text: fmt.Sprintf("it is tried again after %d lost builds", e.row.Retries),
			Unblock: "its time comes at " + e.NotBefore.Time().UTC().Format("15:04:05") + " UTC",
		})
	}
	if x.Position > 1 {
		x.Reasons = append(x.Reasons, Reason{
			Code: "queue", Text: fmt.Sprintf("%d requests of %s are ahead", x.Position-1, b.Name), Unblock: "they start",
		})
	}
	x.Reasons = append(x.Reasons, reasons.Of(e.BuilderID, requestID)...)
	for _, a := range assignments {
		if a.Request.ID == requestID {
			x.Reasons = []Reason{{Code: "starting", Text: fmt.Sprintf("it starts on worker %q now", a.Worker), Worker: a.Worker}}
		}
	}
	x.Summary = summary(x.Reasons)
	return x, true
}

// summary is one line for lists.
func summary(reasons []Reason) string {
	switch len(reasons) {
	case 0:
		return "waiting"
	case 1:
		return reasons[0].Text
	}
	return fmt.Sprintf("%s, and %d more reasons", reasons[0].Text, len(reasons)-1)
}

// Waiting returns how many requests wait. It waits for the distributor's goroutine.
func (d *Distributor) Waiting(ctx context.Context) (n int, err error) {
	done := make(chan struct{})
	d.mail.post(func() {
		n = len(d.index.byID)
		close(done)
	})
	select {
	case <-done:
		return n, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
