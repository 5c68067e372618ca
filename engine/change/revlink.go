package change

import (
	"net/url"
	"strings"
)

// wellKnown returns the page of a revision of a repository at one of the sites that
// many use, or "" for a repository elsewhere.
func wellKnown(revision, repository string) string {
	host, path, ok := hostAndPath(repository)
	if !ok {
		return ""
	}
	rev := url.PathEscape(revision)
	switch host {
	case "github.com":
		return page(path, 2, 2, "https://github.com/", "/commit/", rev)
	case "gitlab.com": // a project may be within several groups
		return page(path, 2, 20, "https://gitlab.com/", "/-/commit/", rev)
	case "bitbucket.org":
		return page(path, 2, 2, "https://bitbucket.org/", "/commits/", rev)
	case "git.code.sf.net", "hg.code.sf.net":
		if project, ok := strings.CutPrefix(path, "p/"); ok {
			return page(project, 2, 2, "https://sourceforge.net/p/", "/ci/", rev+"/")
		}
	}
	return ""
}

// page joins the address of a page if the path has so many words.
func page(path string, least, most int, before, between, after string) string {
	words := strings.Split(path, "/")
	if len(words) < least || len(words) > most {
		return ""
	}
	for i, w := range words {
		if w == "" || w == "." || w == ".." {
			return ""
		}
		words[i] = url.PathEscape(w)
	}
	return before + strings.Join(words, "/") + between + after
}

// hostAndPath takes a repository's address apart: a URL, or USER@HOST:PATH as ssh
// writes it. The path has neither outer slashes nor the suffix .git.
func hostAndPath(repository string) (host, path string, ok bool) {
	if strings.Contains(repository, "://") {
		u, err := url.Parse(repository)
		if err != nil {
			return "", "", false
		}
		host, path = u.Hostname(), u.Path
	} else {
		if host, path, ok = strings.Cut(repository, ":"); !ok {
			return "", "", false
		}
		host = host[strings.LastIndexByte(host, '@')+1:]
	}
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	return strings.ToLower(host), path, host != "" && path != ""
}
