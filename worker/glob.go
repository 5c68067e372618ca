package worker

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"buildstar/conn/wire"
)

// maxFound bounds what one glob may find.
const maxFound = 1_000_000

func parseGlob(s *session, r *reader) runFunc {
	pattern := r.path("path")
	return func(c *command) error {
		g := globber{c: c, base: s.cfg.Basedir}
		err := g.glob(pattern)
		switch {
		case c.interrupted():
		case err != nil:
			c.out.header(fmt.Sprintf("%s: %v", c.name, err))
			c.out.value(wire.RC, 1)
		default:
			slices.Sort(g.found)
			c.files(slices.Compact(g.found))
		}
		return nil
	}
}

// globber finds the names that match a pattern as Python's glob does: * ? [] within a
// name, ** for any directories, none of them for names with a leading dot unless the
// pattern has it too. Unlike Python's, ** does not follow links, which may go round in
// circles.
type globber struct {
	c     *command
	base  string // where relative patterns start
	found []string
}

func (g *globber) glob(pattern string) error {
	prefix := ""
	for strings.HasPrefix(pattern, "/") {
		prefix, pattern = "/", pattern[1:]
	}
	var parts []string
	for part := range strings.SplitSeq(pattern, "/") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	dirsOnly := strings.HasSuffix(pattern, "/")
	return g.match(prefix, parts, dirsOnly)
}

// match looks for parts below dir, which is "" or ends in a slash.
func (g *globber) match(dir string, parts []string, dirsOnly bool) error {
	if g.c.ctx.Err() != nil {
		return g.c.ctx.Err()
	}
	if len(parts) == 0 {
		return g.add(dir)
	}
	part, rest := parts[0], parts[1:]
	if part == "**" {
		return g.matchAny(dir, rest, dirsOnly)
	}
	if !strings.ContainsAny(part, "*?[") {
		return g.descend(dir+part, rest, dirsOnly)
	}
	re, err := nameRegexp(part)
	if err != nil {
		return err
	}
	for _, e := range g.list(dir) {
		name := e.Name()
		if hidden(name) && !hidden(part) || !re.MatchString(name) {
			continue
		}
		if err := g.descend(dir+name, rest, dirsOnly); err != nil {
			return err
		}
	}
	return nil
}

// descend goes on with rest below path, if path is there.
func (g *globber) descend(path string, rest []string, dirsOnly bool) error {
	if len(rest) == 0 && !dirsOnly {
		if _, err := os.Lstat(g.abs(path)); err != nil {
			return nil
		}
		return g.add(path)
	}
	if st, err := os.Stat(g.abs(path)); err != nil || !st.IsDir() {
		return nil
	}
	return g.match(path+"/", rest, dirsOnly)
}

// matchAny is ** : rest in dir and in every directory below. As the last part it
// matches files too.
func (g *globber) matchAny(dir string, rest []string, dirsOnly bool) error {
	if len(rest) > 0 && rest[0] == "**" {
		return g.matchAny(dir, rest[1:], dirsOnly)
	}
	if len(rest) > 0 || dir != "" {
		if err := g.match(dir, rest, dirsOnly); err != nil {
			return err
		}
	}
	for _, e := range g.list(dir) {
		if hidden(e.Name()) {
			continue
		}
		if e.IsDir() {
			if len(rest) == 0 && !dirsOnly {
				if err := g.add(dir + e.Name()); err != nil {
					return err
				}
			}
			if err := g.below(dir+e.Name()+"/", rest, dirsOnly); err != nil {
				return err
			}
		} else if len(rest) == 0 && !dirsOnly {
			if err := g.add(dir + e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// below is matchAny for a directory that was found by it: it was added without the
// slash already, unless only directories are wanted.
func (g *globber) below(dir string, rest []string, dirsOnly bool) error {
	n := len(g.found)
	if err := g.matchAny(dir, rest, dirsOnly); err != nil {
		return err
	}
	if len(rest) == 0 && !dirsOnly && len(g.found) > n && g.found[n] == dir {
		g.found = slices.Delete(g.found, n, n+1)
	}
	return nil
}

func (g *globber) add(path string) error {
	if path == "" {
		return nil
	}
	if len(g.found) == maxFound {
		return fmt.Errorf("more than %d names match", maxFound)
	}
	g.found = append(g.found, path)
	return nil
}

func (g *globber) abs(path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return filepath.Join(g.base, path)
}

// list returns what is in dir; nothing if that cannot be read.
func (g *globber) list(dir string) []fs.DirEntry {
	entries, _ := os.ReadDir(g.abs(dir)) // as Python does
	return entries
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// nameRegexp translates one part of a pattern. A [ without its ] is just a [.
func nameRegexp(part string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(part); {
		switch part[i] {
		case '*':
			b.WriteString(`.*`)
			i++
		case '?':
			b.WriteString(`.`)
			i++
		case '[':
			n := writeSet(&b, part[i:])
			i += n
		default:
			j := i + 1
			for j < len(part) && !strings.ContainsRune("*?[", rune(part[j])) {
				j++
			}
			b.WriteString(regexp.QuoteMeta(part[i:j]))
			i = j
		}
	}
	b.WriteString(`\z`)
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", part, err)
	}
	return re, nil
}

// writeSet translates the set at the start of p and returns its length.
func writeSet(b *strings.Builder, p string) int {
	start := 1
	if start < len(p) && p[start] == '!' {
		start++
	}
	// A ] that comes first belongs to the set.
	end := strings.IndexByte(p[min(start+1, len(p)):], ']')
	if end < 0 {
		b.WriteString(`\[`)
		return 1
	}
	end += start + 1
	b.WriteByte('[')
	if start == 2 {
		b.WriteByte('^')
	}
	for _, r := range p[start:end] {
		if strings.ContainsRune(`\]^[&~`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	b.WriteByte(']')
	return end + 1
}
