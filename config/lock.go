package config

import (
	"encoding/binary"
	"fmt"

	"buildstar/config/prop"
)

// FromValue reads a list of lock accesses, the values of a locks argument.
func (l *LockAccesses) FromValue(v any) error {
	list, ok := v.([]any)
	if !ok {
		if v == nil {
			*l = nil
			return nil
		}
		return fmt.Errorf("want list of lock accesses, got %s", prop.Describe(v))
	}
	out := make(LockAccesses, 0, len(list))
	for i, e := range list {
		switch a := e.(type) {
		case LockAccess:
			out = append(out, a)
		case *LockAccess:
			out = append(out, *a)
		case *Lock:
			return fmt.Errorf("item %d: want a lock access, got the lock %q itself (write lock.access(\"exclusive\") or lock.access(\"counting\"))", i+1, a.Name)
		default:
			return fmt.Errorf("item %d: want a lock access such as lock.access(\"exclusive\"), got %s", i+1, prop.Describe(e))
		}
	}
	*l = out
	return nil
}

// AppendCanonical appends which locks are held and how. How many holders a lock
// admits is the content of the lock's own node.
func (l LockAccesses) AppendCanonical(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(l)))
	for _, a := range l {
		dst = a.AppendCanonical(dst)
	}
	return dst
}

// AppendCanonical appends the lock's name and kind and how it is held.
func (a LockAccess) AppendCanonical(dst []byte) []byte {
	return fmt.Appendf(dst, "%q,%t,%t,%d;", a.Lock.Name, a.Lock.PerWorker, a.Exclusive, a.Count)
}
