package git

import (
	"fmt"
	"regexp"
	"strconv"
)

// A Version is that of a git program.
type Version struct{ Major, Minor, Patch int }

var versionText = regexp.MustCompile(`^git version (\d+)\.(\d+)(?:\.(\d+))?`)

// ParseVersion reads what `git --version` prints: "git version 2.39.5 (Apple Git-154)".
func ParseVersion(output string) (Version, error) {
	m := versionText.FindStringSubmatch(output)
	if m == nil {
		return Version{}, fmt.Errorf("read the version of git: it printed %.80q", output)
	}
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1]) // a missing patch, or a number beyond reason, is 0
	}
	return Version{n[0], n[1], n[2]}, nil
}

// String returns "2.39.5".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// atLeast reports whether v is major.minor.patch or newer.
func (v Version) atLeast(major, minor, patch int) bool {
	switch {
	case v.Major != major:
		return v.Major > major
	case v.Minor != minor:
		return v.Minor > minor
	}
	return v.Patch >= patch
}

// Check refuses versions that lack what everything here needs. The oldest that does
// not is that of CentOS 7.
func (v Version) Check() error {
	if !v.atLeast(1, 8, 3) {
		return fmt.Errorf("git %v is too old: install 1.8.3 or newer", v)
	}
	return nil
}

// Filters reports whether clone and fetch know --filter with every filter.
func (v Version) Filters() bool { return v.atLeast(2, 27, 0) }

// sshCommand reports whether GIT_SSH_COMMAND is heeded.
func (v Version) sshCommand() bool { return v.atLeast(2, 3, 0) }

// helperReset reports whether an empty credential.helper forgets those of the machine.
func (v Version) helperReset() bool { return v.atLeast(2, 9, 0) }
