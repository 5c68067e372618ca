package util

import (
	"fmt"
	"maps"
	"slices"

	"buildstar/config"
	"buildstar/starlark/spec"
)

// MasterLock is util.MasterLock (docs/requirements.md C5).
var MasterLock = &spec.Class{
	Module: "util", Name: "MasterLock",
	New:     func() any { return &masterLock{MaxCount: 1} },
	Methods: []spec.Method{access},
}

// masterLock limits how many builds or steps run at once, on all workers
// together.
type masterLock struct {
	// Name identifies the lock; no other lock has it.
	Name string `star:"name"`
	// MaxCount is how many counting accesses fit at once; the default is 1.
	MaxCount int `star:"maxCount,optional" min:"1"`
}

// Make makes the node.
func (l *masterLock) Make(c *spec.Call) any {
	checkLockName(c, l.Name)
	return &config.Lock{At: config.At{Where: c.Pos()}, Name: l.Name, MaxCount: l.MaxCount}
}

// WorkerLock is util.WorkerLock (docs/requirements.md C5).
var WorkerLock = &spec.Class{
	Module: "util", Name: "WorkerLock",
	New:         func() any { return &workerLock{MaxCount: 1} },
	Unsupported: map[string]string{"maxCountForSlave": "since Buildbot 0.9 it is maxCountForWorker"},
	Methods:     []spec.Method{access},
}

// workerLock limits how many builds or steps run at once on a worker: each worker
// has a lock of its own.
type workerLock struct {
	// Name identifies the lock; no other lock has it.
	Name string `star:"name"`
	// MaxCount is how many counting accesses fit at once on a worker; the default is 1.
	MaxCount int `star:"maxCount,optional" min:"1"`
	// MaxCountForWorker says otherwise for some workers, by name.
	MaxCountForWorker map[string]int `star:"maxCountForWorker,optional"`
}

// Make makes the node.
func (l *workerLock) Make(c *spec.Call) any {
	checkLockName(c, l.Name)
	for _, worker := range slices.Sorted(maps.Keys(l.MaxCountForWorker)) {
		if n := l.MaxCountForWorker[worker]; n < 1 {
			c.Problem("bad-value", "maxCountForWorker", fmt.Sprintf("%q: want at least 1, got %d", worker, n), "")
		}
	}
	return &config.Lock{
		At: config.At{Where: c.Pos()}, Name: l.Name, PerWorker: true,
		MaxCount: l.MaxCount, MaxCountForWorker: l.MaxCountForWorker,
	}
}

func checkLockName(c *spec.Call, name string) {
	if name == "" {
		c.Problem("bad-name", "name", "the name is empty", "")
	}
}

var access = spec.Method{
	Name: "access",
	New:  func() any { return &lockAccess{Count: 1} },
	Call: func(c *spec.Call, self *spec.Object, params any) (any, error) {
		a := params.(*lockAccess).make(c, self.Value.(*config.Lock))
		return c.Object(lockAccessClass, a), nil
	},
}

// lockAccessClass is the class of what access returns; it cannot be named.
var lockAccessClass = &spec.Class{
	Module: "util", Name: "LockAccess",
	New: func() any { return &lockAccess{Count: 1} },
}

// lockAccess is one way of holding a lock. It goes into a locks argument.
type lockAccess struct {
	// Mode is "exclusive", to be alone, or "counting", to share the lock with others
	// up to its maxCount.
	Mode string `star:"mode" oneof:"counting|exclusive"`
	// Count is how much of maxCount a counting access takes; 0 always succeeds. The
	// default is 1.
	Count int `star:"count,optional" min:"0"`
}

func (a *lockAccess) make(c *spec.Call, l *config.Lock) *config.LockAccess {
	exclusive := a.Mode == "exclusive"
	if exclusive && a.Count != 1 {
		c.Problem("bad-value", "count", fmt.Sprintf("an exclusive access has count 1, got %d", a.Count), "leave count out")
	}
	most := l.MaxCount
	for _, n := range l.MaxCountForWorker {
		most = max(most, n)
	}
	if !exclusive && a.Count > most {
		c.Problem("bad-value", "count", fmt.Sprintf("%d can never be had: maxCount of %q is %d", a.Count, l.Name, most), "")
	}
	return &config.LockAccess{Lock: l, Exclusive: exclusive, Count: a.Count}
}
