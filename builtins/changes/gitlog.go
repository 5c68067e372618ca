package changes

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"

	"buildstar/engine/git"
	"buildstar/state"
)

// commit is what git says of one. Texts are bytes: their encoding is not known.
type commit struct {
	hash                       string
	when                       state.Time // 0 if it is out of range
	author, committer, message []byte
	files                      [][]byte
}

// logFormat makes `git log -z` print what readLog reads: fields that end with NUL, of
// which none can have one in it.
const logFormat = "%x01%H%x00%ct%x00%aN <%aE>%x00%cN <%cE>%x00%s%n%b%x00"

// maxToken bounds one field of a commit: a message, a path.
const maxToken = 16 << 20

// readLog reads what `git log -z --name-status --format=`[logFormat] prints. Each file is
// a status and a path, so that no path can pass for the begin of the next commit.
func readLog(r io.Reader) (commits []commit, err error) {
	fields := bufio.NewScanner(r)
	fields.Buffer(nil, maxToken)
	fields.Split(splitNUL)
	next := func() []byte {
		fields.Scan()
		return bytes.Clone(fields.Bytes())
	}
	for fields.Scan() {
		word := bytes.TrimLeft(fields.Bytes(), "\n")
		if hash, ok := bytes.CutPrefix(word, []byte{1}); ok {
			c := commit{hash: string(hash)}
			if !git.IsHash(c.hash) {
				return nil, fmt.Errorf("read commits: %.60q is no hash", c.hash)
			}
			c.when, c.author, c.committer, c.message = timestamp(string(next())), next(), next(), next()
			commits = append(commits, c)
			continue
		}
		switch {
		case len(word) == 0: // between a message and its files
		case len(commits) == 0 || !bytes.Contains([]byte("ACDMRTUXB"), word[:1]):
			return nil, fmt.Errorf("read commits: %.60q stands where a commit or file begins", word)
		default:
			c := &commits[len(commits)-1]
			if path := next(); len(path) > 0 {
				c.files = append(c.files, path)
			} else {
				return nil, errors.New("read commits: a file has no name")
			}
		}
	}
	if err := fields.Err(); err != nil {
		return nil, fmt.Errorf("read commits: %w", err)
	}
	return commits, nil
}

// splitNUL splits at NUL.
func splitNUL(data []byte, end bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	if end && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// lastSecond is the end of the year 9999.
const lastSecond = 253402300799

// timestamp reads seconds since 1970; a commit can claim any.
func timestamp(s string) state.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > lastSecond {
		return 0
	}
	return state.Time(n * 1000)
}

// readRefs reads what `git ls-remote --symref` prints: the commits of the refs, by full
// name, and the name of the default branch. Of a tag it is the commit that is tagged.
func readRefs(out []byte) (refs map[string]string, def string, err error) {
	refs = make(map[string]string)
	for line := range bytes.Lines(out) {
		what, ref, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), "\t")
		target, symbolic := strings.CutPrefix(what, "ref: ")
		switch {
		case !ok || !symbolic && !git.IsHash(what):
			return nil, "", fmt.Errorf("list refs: git printed %.80q", line)
		case symbolic && ref == "HEAD":
			def = target
		case symbolic:
		case ref == "HEAD":
			refs["HEAD"] = what
		case strings.HasPrefix(ref, "refs/"):
			// A tag's own line comes before that of its commit, NAME^{}.
			refs[strings.TrimSuffix(ref, "^{}")] = what
		}
	}
	if at, ok := refs["HEAD"]; ok && def != "" {
		refs[def] = at
	}
	delete(refs, "HEAD")
	return refs, def, nil
}

// decoding returns what makes text of bytes: those that are UTF-8 stay as they are,
// others are read in the encoding that is named.
func decoding(name string) (func([]byte) string, error) {
	e, err := htmlindex.Get(strings.ReplaceAll(name, "_", "-"))
	if err != nil {
		e, err = htmlindex.Get(strings.NewReplacer("-", "", "_", "").Replace(name))
	}
	if err != nil {
		return nil, fmt.Errorf("there is no encoding %q", name)
	}
	return func(b []byte) string {
		if utf8.Valid(b) {
			return string(b)
		}
		if out, err := e.NewDecoder().Bytes(b); err == nil {
			return string(out)
		}
		return strings.ToValidUTF8(string(b), "\ufffd")
	}, nil
}

// key returns the name of a ref as it can stand in JSON: no ref has a colon.
func key(ref string) string {
	if utf8.ValidString(ref) {
		return ref
	}
	return "hex:" + hex.EncodeToString([]byte(ref))
}

// unkey is the inverse of key.
func unkey(k string) string {
	if text, ok := strings.CutPrefix(k, "hex:"); ok {
		if ref, err := hex.DecodeString(text); err == nil {
			return string(ref)
		}
	}
	return k
}
