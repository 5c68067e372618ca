package changes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"buildstar/engine/git"
)

// repository is the bare clone of one poller. Nobody else uses it.
type repository struct {
	bin     string
	dir     string
	private string // directory of keys and passwords, while a poll runs
	access  *git.Access
	options []string
	env     []string
}

// polled is where the clone keeps the refs: refs/heads/main is refs/polled/heads/main.
const polled = "refs/polled/"

func track(ref string) string { return polled + strings.TrimPrefix(ref, "refs/") }

// maxRefspecs is how many refs one command line names.
const maxRefspecs = 500

// open returns the poller's clone, made or mended if it has to be. It is to be closed.
func (p *gitPoll) open(ctx context.Context, access *git.Access) (*repository, error) {
	dir := p.Workdir
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(p.host.Basedir(), dir)
	}
	r := &repository{bin: p.GitBin, dir: filepath.Join(dir, folder(p.Name)), access: access, env: environment(nil)}
	if p.dirty {
		if err := r.check(ctx); err != nil {
			return nil, err
		}
		if err := r.mend(ctx); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(filepath.Join(r.dir, "HEAD")); err != nil {
		if err := os.MkdirAll(r.dir, 0o777); err != nil {
			return nil, fmt.Errorf("make the poller's clone: %w", err)
		}
		if err := r.git(ctx, "", nil, "init", "--quiet", "--bare", "--template=", r.dir); err != nil {
			return nil, err
		}
	}
	return r, r.unlock()
}

var unusual = regexp.MustCompile(`[^A-Za-z0-9_.]+`)

// folder returns the name of a poller's directory: readable, and no other poller's.
func folder(name string) string {
	sum := sha256.Sum256([]byte(name))
	words := strings.Trim(unusual.ReplaceAllString(name, "-"), "-.")
	return strings.TrimLeft(words[max(0, len(words)-40):], "-.") + "-" + hex.EncodeToString(sum[:4])
}

// check refuses a git that is missing or too old.
func (r *repository) check(ctx context.Context) error {
	out, err := r.output(ctx, "", "--version")
	if err != nil {
		return err
	}
	v, err := git.ParseVersion(string(out))
	if err != nil {
		return err
	}
	return r.access.Check(v)
}

// mend removes what a killed git leaves behind. A clone that git cannot read any more is
// removed as a whole.
func (r *repository) mend(ctx context.Context) error {
	if _, err := os.Stat(r.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path == filepath.Join(r.dir, "objects"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".lock"): // no ref can be named so
			return os.Remove(path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mend the poller's clone: %w", err)
	}
	if err := r.git(ctx, "", nil, "rev-list", "--max-count=1", "--all"); err != nil {
		if ctx.Err() != nil {
			return err
		}
		if err := os.RemoveAll(r.dir); err != nil {
			return fmt.Errorf("remove the poller's broken clone: %w", err)
		}
	}
	return nil
}

// unlock writes the files that give access.
func (r *repository) unlock() error {
	r.private = filepath.Join(r.dir, "access")
	if err := os.RemoveAll(r.private); err != nil { // left by a killed master
		return fmt.Errorf("remove old keys: %w", err)
	}
	if files := r.access.Files(); len(files) > 0 {
		if err := os.Mkdir(r.private, 0o700); err != nil {
			return fmt.Errorf("write keys: %w", err)
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(r.private, f.Name), []byte(f.Content), 0o600); err != nil {
				return fmt.Errorf("write keys: %w", err)
			}
		}
	}
	more, err := r.access.Env(r.private)
	if err != nil {
		return err
	}
	r.options, r.env = r.access.Options(r.private), environment(more)
	return nil
}

// close removes the files that give access.
func (r *repository) close() {
	if r.private != "" {
		_ = os.RemoveAll(r.private) // the next poll tries again
	}
}

// git runs git in the clone.
func (r *repository) git(ctx context.Context, in string, out func(io.Reader) error, args ...string) error {
	// What git does by itself in the background would outlive the poller.
	words := []string{r.bin, "-c", "gc.autoDetach=false", "-c", "maintenance.auto=false",
		"-c", "log.showSignature=false", "-c", "log.showRoot=true", "-c", "i18n.logOutputEncoding=UTF-8"}
	words = append(append(words, r.options...), args...)
	dir := r.dir
	if _, err := os.Stat(dir); err != nil {
		dir = "" // git --version needs none
	}
	if err := (&process{words: words, dir: dir, env: r.env, in: in, out: out}).run(ctx); err != nil {
		return fmt.Errorf("git %s: %w", args[0], err)
	}
	return nil
}

func (r *repository) output(ctx context.Context, in string, args ...string) (out []byte, err error) {
	err = r.git(ctx, in, func(printed io.Reader) (err error) {
		out, err = io.ReadAll(printed)
		return err
	}, args...)
	return out, err
}

// list asks the repository for the refs that match any of the patterns, and for its
// default branch if the pattern is HEAD.
func (r *repository) list(ctx context.Context, patterns []string) (refs map[string]string, def string, err error) {
	args := []string{"ls-remote"}
	byDefault := len(patterns) == 1 && patterns[0] == "HEAD"
	if byDefault {
		args = append(args, "--symref")
	}
	for _, p := range patterns {
		if strings.HasPrefix(p, tags) {
			patterns = append(patterns, p+"^{}") // what the tag is of
		}
	}
	out, err := r.output(ctx, "", append(append(args, "--", r.access.URL), patterns...)...)
	if err != nil {
		return nil, "", err
	}
	if refs, def, err = readRefs(out); byDefault && def == "" && len(out) > 0 {
		return nil, "", errors.New("list refs: HEAD of the repository names no branch: say which with branches")
	}
	return refs, def, err
}

// fetch brings the clone to where the refs are, and returns their commits. Refs that
// are of something else than a commit are left out.
func (r *repository) fetch(ctx context.Context, there map[string]string) (map[string]string, error) {
	// First what is gone: refs/heads/a is in the way of refs/heads/a/b.
	out, err := r.output(ctx, "", "for-each-ref", "--format=%(refname)", polled)
	if err != nil {
		return nil, err
	}
	keep := make(map[string]bool, len(there))
	for k := range there {
		keep[track(unkey(k))] = true
	}
	var gone strings.Builder
	for ref := range strings.Lines(string(out)) {
		if !keep[strings.TrimSuffix(ref, "\n")] {
			gone.WriteString("delete " + ref)
		}
	}
	if gone.Len() > 0 {
		if err := r.git(ctx, gone.String(), nil, "update-ref", "--stdin"); err != nil {
			return nil, err
		}
	}
	now, err := r.resolve(ctx, there)
	if err != nil {
		return nil, err
	}
	var specs []string
	for k, commit := range there {
		if now[k] != commit {
			specs = append(specs, "+"+unkey(k)+":"+track(unkey(k)))
		}
	}
	for len(specs) > 0 {
		part := specs[:min(maxRefspecs, len(specs))]
		specs = specs[len(part):]
		args := []string{"fetch", "--progress", "--no-tags", "--no-recurse-submodules", "--", r.access.URL}
		if err := r.git(ctx, "", nil, append(args, part...)...); err != nil {
			return nil, err
		}
	}
	return r.resolve(ctx, there)
}

// resolve returns the commits of refs in the clone.
func (r *repository) resolve(ctx context.Context, refs map[string]string) (map[string]string, error) {
	var keys, names []string
	for k := range refs {
		keys, names = append(keys, k), append(names, track(unkey(k)))
	}
	commits, err := r.lookUp(ctx, names)
	if err != nil {
		return nil, err
	}
	at := make(map[string]string, len(refs))
	for i, k := range keys {
		if commits[i] != "" {
			at[k] = commits[i]
		}
	}
	return at, nil
}

// lookUp returns the commit of each name, "" if the clone has none.
func (r *repository) lookUp(ctx context.Context, names []string) ([]string, error) {
	commits := make([]string, len(names))
	if len(names) == 0 {
		return commits, nil
	}
	out, err := r.output(ctx, strings.Join(names, "^{commit}\n")+"^{commit}\n", "cat-file", "--batch-check=%(objecttype) %(objectname)")
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n"))
	if len(lines) != len(names) {
		return nil, fmt.Errorf("git cat-file: asked for %d objects, got %d", len(names), len(lines))
	}
	for i, line := range lines {
		if hash, ok := bytes.CutPrefix(line, []byte("commit ")); ok && git.IsHash(string(hash)) {
			commits[i] = string(hash)
		}
	}
	return commits, nil
}

// have returns those of the commits that the clone has.
func (r *repository) have(ctx context.Context, commits ...string) ([]string, error) {
	found, err := r.lookUp(ctx, commits)
	var have []string
	for _, c := range found {
		if c != "" {
			have = append(have, c)
		}
	}
	return have, err
}

// commits lists the ancestors of commit, and itself, that none of known has: parents
// come before their children.
func (r *repository) commits(ctx context.Context, commit string, known []string) ([]string, error) {
	var in strings.Builder
	in.WriteString(commit + "\n")
	for _, k := range known {
		in.WriteString("^" + k + "\n")
	}
	out, err := r.output(ctx, in.String(), "rev-list", "--reverse", "--date-order", "--stdin")
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(out)), nil
}

// read reads commits, in this order. Of a merge the files are those that differ from its
// first parent; a file that was renamed is there by both of its names.
func (r *repository) read(ctx context.Context, list []string) (commits []commit, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	err = r.git(ctx, strings.Join(list, "\n")+"\n", func(printed io.Reader) (err error) {
		commits, err = readLog(printed)
		return err
	}, "log", "--no-walk=unsorted", "--stdin", "-m", "--first-parent", "--no-renames", "--no-ext-diff", "--no-color",
		"--name-status", "-z", "--format="+logFormat)
	if err != nil {
		return nil, err
	}
	if len(commits) != len(list) {
		return nil, fmt.Errorf("git log: asked for %d commits, got %d", len(list), len(commits))
	}
	return commits, nil
}

// tidy packs the clone when git finds that it should be.
func (r *repository) tidy(ctx context.Context) error {
	return r.git(ctx, "", nil, "gc", "--auto", "--quiet")
}
