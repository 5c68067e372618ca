package util

import (
	"testing"

	"buildstar/config"
)

func TestMasterLock(t *testing.T) {
	l := value[*config.Lock](t, `x = util.MasterLock("db")`)
	equal(t, "default", []any{l.Name, l.MaxCount, l.PerWorker, l.MaxCountForWorker}, []any{"db", 1, false, map[string]int(nil)})
	equal(t, "key", l.Key(), config.Key{Kind: config.KindLock, Name: "db"})
	equal(t, "maxCount", value[*config.Lock](t, `x = util.MasterLock("db", maxCount=4)`).MaxCount, 4)
}

func TestWorkerLock(t *testing.T) {
	l := value[*config.Lock](t, `x = util.WorkerLock("cpu")`)
	equal(t, "default", []any{l.Name, l.MaxCount, l.PerWorker}, []any{"cpu", 1, true})
	equal(t, "maxCount", value[*config.Lock](t, `x = util.WorkerLock("cpu", maxCount=4)`).MaxCount, 4)
	l = value[*config.Lock](t, `x = util.WorkerLock("cpu", maxCountForWorker={"big": 8})`)
	equal(t, "maxCountForWorker", l.MaxCountForWorker, map[string]int{"big": 8})
}

func TestLockAccess(t *testing.T) {
	type held struct {
		exclusive bool
		count     int
	}
	for src, want := range map[string]held{
		`util.MasterLock("a").access("exclusive")`:                                     {true, 1},
		`util.MasterLock("a").access(mode="exclusive", count=1)`:                       {true, 1},
		`util.MasterLock("a").access("counting")`:                                      {false, 1},
		`util.MasterLock("a", 3).access("counting", 3)`:                                {false, 3},
		`util.MasterLock("a").access("counting", count=0)`:                             {false, 0},
		`util.WorkerLock("a", maxCountForWorker={"w": 5}).access("counting", count=5)`: {false, 5},
	} {
		a := value[*config.LockAccess](t, "x = "+src)
		equal(t, src, held{a.Exclusive, a.Count}, want)
		equal(t, src, a.Lock.Name, "a")
	}
}

func TestLockProblems(t *testing.T) {
	testProblems(t, []badCall{
		{`util.MasterLock("")`, "bad-name", "name", "empty"},
		{`util.WorkerLock("")`, "bad-name", "name", "empty"},
		{`util.MasterLock("a", maxCount=0)`, "bad-value", "maxCount", "at least 1"},
		{`util.WorkerLock("a", maxCount=-1)`, "bad-value", "maxCount", "at least 1"},
		{`util.WorkerLock("a", maxCountForWorker={"w": 0})`, "bad-value", "maxCountForWorker", `"w": want at least 1`},
		{`util.MasterLock("a", maxCountForWorker={})`, "unknown-parameter", "maxCountForWorker", "no such parameter"},
		{`util.MasterLock("a").access("shared")`, "bad-value", "mode", "want counting or exclusive"},
		{`util.MasterLock("a").access()`, "missing-parameter", "mode", "required"},
		{`util.MasterLock("a").access("counting", count=-1)`, "bad-value", "count", "at least 0"},
		{`util.MasterLock("a", 2).access("counting", count=3)`, "bad-value", "count", "3 can never be had"},
		{`util.MasterLock("a", 2).access("exclusive", count=2)`, "bad-value", "count", "an exclusive access has count 1"},
		{`util.SlaveLock("a")`, "not-supported", "", "util.WorkerLock"},
	})
}
