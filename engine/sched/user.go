package sched

import (
	"net"
	"strings"
)

// User is who asks for something. The zero User is anonymous.
type User struct {
	Name, Email string

	address string // where somebody came from who did not log in
	claim   string // who they say to be
}

// ClaimHeader is a header of HTTP requests: who somebody says to be who did not log in.
// The commands of buildstar send the name of the system's user.
const ClaimHeader = "Buildstar-User"

// maxClaim is how long a name may be that nobody checked.
const maxClaim = 32

// Visitor is somebody who did not log in, at the address HOST:PORT. Of what they claim only
// letters, digits and . _ - are kept.
func Visitor(address, claim string) User {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	claim = strings.Map(func(r rune) rune {
		if strings.ContainsRune("._-", r) || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, claim)
	return User{address: address, claim: claim[:min(len(claim), maxClaim)]}
}

// Owner returns who builds belong to (docs/requirements.md C10).
func (u User) Owner() string {
	switch {
	case u.Name != "" && u.Email != "":
		return u.Name + " <" + u.Email + ">"
	case u.Name != "":
		return u.Name
	case u.Email != "":
		return u.Email
	}
	return anonymous
}

const anonymous = "anonymous"

// String returns who it is for logs, reasons and the pages: of somebody who did not log in,
// where they came from.
func (u User) String() string {
	switch owner := u.Owner(); {
	case owner != anonymous || u.address == "":
		return owner
	case u.claim == "":
		return anonymous + "@" + u.address
	}
	return u.claim + "@" + u.address + " (not logged in)"
}
