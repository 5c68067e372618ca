package run

import (
	"path"
	"strings"
)

// Join joins paths by the rules of a worker's system, "posix" or "nt"; an absolute
// element starts anew (docs/protocol.md A.6). Empty elements are left out.
func Join(system string, elems ...string) string {
	sep := "/"
	if system == "nt" {
		sep = `\`
	}
	out := ""
	for _, e := range elems {
		switch {
		case e == "":
		case out == "" || isAbs(system, e):
			out = e
		default:
			out = strings.TrimRight(out, `/`+sep) + sep + e
		}
	}
	if system == "nt" {
		return out
	}
	return path.Clean(out)
}

func isAbs(system, p string) bool {
	if strings.HasPrefix(p, "/") {
		return true
	}
	if system != "nt" {
		return false
	}
	return strings.HasPrefix(p, `\`) || len(p) >= 3 && p[1] == ':' && (p[2] == '\\' || p[2] == '/')
}

// Base returns the last element of a path by the rules of a worker's system; "" if
// the path has no name of its own, as "/" or "a/..".
func Base(system, p string) string {
	if system == "nt" {
		p = strings.ReplaceAll(p, `\`, "/")
	}
	switch b := path.Base(p); b {
	case "/", ".", "..":
		return ""
	default:
		if system == "nt" && strings.HasSuffix(b, ":") {
			return ""
		}
		return b
	}
}

// cutHome returns what follows a leading ~ of a path. "~name" is a name like any
// other.
func cutHome(p string) (rest string, ok bool) {
	if p == "~" {
		return "", true
	}
	if rest, ok = strings.CutPrefix(p, "~/"); !ok {
		rest, ok = strings.CutPrefix(p, `~\`)
	}
	return rest, ok
}
