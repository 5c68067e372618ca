package config

import (
	"strings"
	"testing"

	"buildstar/config/prop"
)

func TestLockAccessesFromValue(t *testing.T) {
	l := &Lock{Name: "db", MaxCount: 3}
	var got LockAccesses
	if err := got.FromValue([]any{LockAccess{Lock: l, Count: 2}, &LockAccess{Lock: l, Exclusive: true, Count: 1}}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Lock != l || got[0].Count != 2 || !got[1].Exclusive {
		t.Errorf("got %+v", got)
	}
	if err := got.FromValue(nil); err != nil || got != nil {
		t.Errorf("None: %v, %v", got, err)
	}
	for _, bad := range []struct {
		v    any
		want string
	}{
		{"db", "want list of lock accesses"},
		{[]any{l}, `the lock "db" itself`},
		{[]any{"db"}, "want a lock access"},
	} {
		if err := got.FromValue(bad.v); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%v: %v", bad.v, err)
		}
	}
}

// What a lock admits, and where it was declared, is no content of its users.
func TestLockAccessesCanonical(t *testing.T) {
	at := func(line int) *Lock { return &Lock{At: At{prop.Pos{Line: line}}, Name: "db", MaxCount: line} }
	node := func(a LockAccess) Digest { return Hash(&Builder{Locks: prop.Of(LockAccesses{a})}) }
	same := node(LockAccess{Lock: at(1), Count: 1})
	if node(LockAccess{Lock: at(2), Count: 1}) != same {
		t.Error("moving a lock changes the builder")
	}
	other := at(1)
	other.Name = "x"
	perWorker := at(1)
	perWorker.PerWorker = true
	for _, a := range []LockAccess{{Lock: at(1), Count: 2}, {Lock: at(1), Count: 1, Exclusive: true}, {Lock: other, Count: 1}, {Lock: perWorker, Count: 1}} {
		if node(a) == same {
			t.Errorf("%+v changes nothing", a)
		}
	}
}

func TestHashSeesPassword(t *testing.T) {
	if Hash(&Worker{Name: "a", Password: "x"}) == Hash(&Worker{Name: "a", Password: "y"}) {
		t.Error("another password makes no other node")
	}
}
