package git

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// CheckURL refuses what git would not take for the address of a repository: nothing, or
// what it would read as an option or as two lines.
func CheckURL(repourl string) error {
	switch {
	case repourl == "":
		return errors.New("it is empty")
	case strings.HasPrefix(repourl, "-"):
		return errors.New("it begins with -, as an option of git does")
	case hasControl(repourl):
		return errors.New("it has a control character in it")
	}
	return nil
}

// badRef is what no name of a branch or tag has in it (git-check-ref-format(1)). Without
// the colon, the star and the plus in front a name is no refspec either.
var badRef = regexp.MustCompile(`[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|^[-/.+]|[/.]$|^@$`)

// CheckRef refuses what is no name of a branch, a tag or another ref: "main", "HEAD",
// "refs/pull/7/head".
func CheckRef(name string) error {
	switch {
	case name == "":
		return errors.New("it is empty")
	case badRef.MatchString(name):
		return fmt.Errorf("%.80q is no name that a branch can have", name)
	}
	return nil
}

// CheckRevision refuses what git would not take for a revision. What git understands is
// fine: a hash, a tag, "HEAD~2".
func CheckRevision(rev string) error {
	switch {
	case rev == "":
		return errors.New("it is empty")
	case strings.HasPrefix(rev, "-"), hasControl(rev):
		return fmt.Errorf("%.80q is no revision", rev)
	}
	return nil
}

var hash = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

// IsHash reports whether rev is the full name of an object, of SHA-1 or SHA-256.
func IsHash(rev string) bool { return hash.MatchString(rev) }

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// splitLogin takes a password out of an address, so that neither command lines nor the
// clone's configuration hold it. Only http and https have one.
func splitLogin(repourl string) (string, *login, error) {
	scheme, _, _ := strings.Cut(repourl, "://")
	if scheme != "http" && scheme != "https" {
		return repourl, nil, nil
	}
	u, err := url.Parse(repourl)
	if err != nil || u.Host == "" {
		return "", nil, errors.New("it is no valid address") // the error of Parse shows the password
	}
	password, ok := u.User.Password()
	if !ok {
		return repourl, nil, nil
	}
	l := &login{u.Scheme, u.Host, strings.TrimPrefix(u.Path, "/"), u.User.Username(), password}
	u.User = nil
	return u.String(), l, l.check()
}
