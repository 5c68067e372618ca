package prop

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
)

// A Password is a worker's login secret. However it is printed (fmt, JSON, slog)
// it reads <password>; only [Password.Matches] and [Password.Reveal] look at it.
type Password string

const passwordMask = "<password>"

// Matches reports whether given is the password, in a time that does not depend
// on where they differ. An empty Password matches nothing.
func (p Password) Matches(given string) bool {
	a, b := sha256.Sum256([]byte(p)), sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && p != ""
}

// Reveal returns the password, for who must hand it to a worker.
func (p Password) Reveal() string { return string(p) }

// String returns <password>.
func (p Password) String() string { return passwordMask }

// Format prints <password> for every verb and flag.
func (p Password) Format(f fmt.State, _ rune) { fmt.Fprint(f, passwordMask) }

// MarshalText returns <password>; encoding/json and slog use it.
func (p Password) MarshalText() ([]byte, error) { return []byte(passwordMask), nil }

// AppendCanonical appends a digest, so that another password makes another node
// and the encoding does not hold it.
func (p Password) AppendCanonical(dst []byte) []byte {
	sum := sha256.Sum256([]byte(p))
	return append(append(dst, 'P'), sum[:]...)
}
