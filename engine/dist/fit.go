package dist

import "buildstar/latent"

// Fit is how the instance of a latent worker suits a request (docs/requirements.md A9.14 to
// A9.16).
type Fit uint8

const (
	Fits    Fit = iota // it serves it, or there is none yet
	Unfit              // it does not, and is replaced if it builds nothing
	Unclear            // only the build itself can tell
	Asking             // that is being found out
	Later              // it is known once the worker is connected
)

// fit is how a worker that may take a build suits a request. An instance that is yet to
// connect has the arguments of the first build that it is started for.
func (d *decision) fit(r *Request, w *Worker) Fit {
	if !w.Latent {
		return Fits
	}
	idle := d.load(w) == 0
	switch {
	case w.Instance.State == latent.Down && idle:
		return Fits
	case w.Instance.Outdated:
		return Unfit
	case !w.Varies:
		return Fits
	case !w.Connected && !idle || d.replaced[w.Name]:
		return Later
	case !w.Connected || d.view.Fit == nil:
		return Fits
	}
	return d.view.Fit(r, w.Name)
}

// misfit is the gate that keeps one request from a worker that others of its builder may
// have; ok is false if it is closed.
func (d *decision) misfit(w *Worker, f Fit) (why closed, ok bool) {
	code := ""
	switch {
	case f == Later:
		code = "instance-starting"
	case f == Asking:
		code = "instance-asked"
	case f == Unfit && d.load(w) > 0:
		code = "other-instance"
	default:
		return closed{}, true
	}
	why = closed{code: code, worker: w, name: w.Name}
	for _, places := range [2][]Place{d.placed[w.Name], w.Running} {
		if len(places) > 0 {
			why.place = &places[0]
		}
	}
	return why, false
}

// trouble is what a request costs on a worker: nothing, a start, maybe an instance that is
// replaced, one certainly.
func (f Fit) trouble(w *Worker) int {
	switch {
	case f == Unfit:
		return 3
	case f == Unclear:
		return 2
	case w.cold():
		return 1
	}
	return 0
}

// covetLimit is how many requests that wait are asked whether they could use an instance
// before it is replaced for another one.
const covetLimit = 20

// coveted reports whether a request that waits behind could use the instance of a worker.
func (d *decision) coveted(b *Builder, r *Request, w *Worker) (yes bool) {
	seen, behind := 0, false
	b.Queue(func(o *Request) bool {
		if behind {
			seen++
			yes = d.fit(o, w) == Fits
		}
		behind = behind || o.ID == r.ID
		return !yes && seen < covetLimit
	})
	return yes
}
