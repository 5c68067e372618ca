package engine

import (
	"sync"

	"buildstar/conn"
	"buildstar/latent"
)

// configure adds and removes members, and disconnects those that may no longer log
// in as they did. It returns once they are, which takes a second if one is stuck.
func (f *fleet) configure(last, next *applied) {
	var wg sync.WaitGroup
	for s, why := range f.adopt(last, next) {
		wg.Go(func() { s.Close(why) })
	}
	wg.Wait()
}

// adopt makes the members those of a configuration, and returns the sessions to
// close, with the reason.
func (f *fleet) adopt(last, next *applied) map[conn.Session]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[conn.Session]string{}
	f.configured = true
	defer f.announce()
	defer wake(f.sentenced) // a quarantine may have come with its worker's row
	for name, mb := range f.members {
		now, before := next.snapshot.Worker(name), last.snapshot.Worker(name)
		switch {
		case now == nil && mb.latent:
			f.retire(name, mb)
		case now == nil:
			delete(f.members, name)
			f.dismiss(out, name, mb, "the worker left the configuration")
		case (now.Latent != nil) != mb.latent:
			f.dismiss(out, name, mb, "it is started in another way now")
		case mb.latent: // an instance keeps its password as long as it lives (D1 pain 6)
		case !sameLogin(last, next, before, now) || now.Local != before.Local:
			f.dismiss(out, name, mb, "the password of the worker changed")
		case now.Local && now.Workdir != before.Workdir:
			f.dismiss(out, name, mb, "the workdir of the local worker changed")
		}
	}
	for name, row := range next.workers {
		mb := f.members[name]
		if mb == nil {
			mb = &member{}
			f.members[name] = mb
			mb.status.Instance = f.m.instances.status(name)
			mb.status.ChangedAt = row.ChangedAt
			mb.status.Paused, mb.status.PauseReason = row.Paused, row.PauseReason
			mb.status.PausedBy, mb.status.PausedAt = row.PausedBy, row.PausedAt
			mb.status.Quarantine = row.Quarantine
			mb.status.Graceful, mb.leaver = row.Graceful, row.GracefulLife
		}
		mb.latent, mb.draining = next.snapshot.Worker(name).Latent != nil, false
		mb.keepalive = next.snapshot.Worker(name).Keepalive
		if mb.session != nil {
			mb.session.SetKeepalive(mb.keepalive)
		}
		f.m.dist.SetWorker(name, mb.status)
	}
	return out
}

// retire lets a latent worker go that left the configuration: what its instance builds is
// finished there, and what waits for one goes to another worker. The caller holds mu.
func (f *fleet) retire(name string, mb *member) {
	f.m.builds.requeue(name, "the worker left the configuration", false)
	if mb.draining = mb.session != nil || f.m.instances.status(name).State != latent.Down; !mb.draining {
		delete(f.members, name)
	}
}

// linger keeps a latent worker that left the configuration while the master was away, as
// long as its instance builds.
func (f *fleet) linger(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.members[name] == nil {
		f.members[name] = &member{latent: true, draining: true}
	}
}

// drained forgets a worker that left the configuration: its instance is gone.
func (f *fleet) drained(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if mb := f.members[name]; mb != nil && mb.draining {
		delete(f.members, name)
		f.announce()
	}
}

// started reports whether a worker is an instance that the master starts.
func (f *fleet) started(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	mb := f.members[name]
	return mb != nil && mb.latent
}

// dismiss lists the session of a worker among those to end, if it has one. Its builds
// are queued again first: that the configuration changed is not a try of theirs. The
// caller holds mu.
func (f *fleet) dismiss(out map[conn.Session]string, name string, mb *member, reason string) {
	f.m.builds.requeue(name, reason, true)
	if mb.session != nil {
		mb.status.Connected = false // it gets no builds while it leaves
		out[mb.session] = reason
	}
}
