package steps

import (
	"context"
	"fmt"
	"strings"
	"time"

	"buildstar/engine/git"
	"buildstar/engine/run"
)

// checkout is one run of a gitStep.
type checkout struct {
	*gitStep
	r       *run.Running
	log     *run.Log
	access  *git.Access
	version git.Version
	stamp   stamp
	private string // the directory on the worker that holds keys and passwords
	workdir string
	dir     string // where git works: workdir, or with method copy its source

	mode, method, branch, reference, origin string
	filters                                 []string
	options                                 map[string]string
	timeout                                 any
	logEnviron                              bool
	env                                     map[string]any
}

// run gets the source.
func (g *checkout) run(ctx context.Context) (err error) {
	if err := g.findGit(ctx); err != nil {
		return err
	}
	if files := g.access.Files(); len(files) > 0 {
		defer func() { err = g.forget(ctx, err) }()
		if err := g.keep(ctx, files); err != nil {
			return err
		}
	}
	if err := g.get(ctx); err != nil {
		return err
	}
	g.dir = g.workdir
	revision, err := g.output(ctx, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	if !git.IsHash(revision) {
		return failure("no revision")
	}
	g.stamp.set(g.r, g.Type(), "got_revision", revision)
	return g.describe(ctx)
}

// get makes workdir hold the revision.
func (g *checkout) get(ctx context.Context) error {
	switch {
	case g.mode == "incremental":
		return g.update(ctx, nil)
	case g.method == "clobber":
		return g.orClobber(ctx, g.clobber(ctx))
	case g.method == "clean":
		return g.update(ctx, []string{"clean", "-f", "-f", "-d"})
	case g.method == "fresh":
		return g.update(ctx, []string{"clean", "-f", "-f", "-d", "-x"})
	}
	if err := g.remove(ctx, g.workdir); err != nil {
		return err
	}
	g.dir = g.r.WorkerPath(g.r.Builddir(), "source")
	if err := g.update(ctx, nil); err != nil {
		return err
	}
	return g.command(ctx, "cpdir", map[string]any{
		"from_path": g.dir, "to_path": g.workdir, "timeout": g.timeout, "maxTime": nil, "logEnviron": false,
	})
}

// update clones, or fetches into the clone of an earlier build. clean is the command
// that removes what is left; nil keeps it.
func (g *checkout) update(ctx context.Context, clean []string) error {
	found, err := g.look(ctx)
	if err != nil {
		return err
	}
	switch found {
	case nothing:
		return g.orClobber(ctx, g.clone(ctx))
	case something:
		return g.clobber(ctx)
	case broken:
		return g.orClobber(ctx, failure("the clone is broken"))
	}
	return g.orClobber(ctx, g.refresh(ctx, clean))
}

// orClobber does what clobberOnFailure says about a failure.
func (g *checkout) orClobber(ctx context.Context, err error) error {
	if !g.ClobberOnFailure || !failed(ctx, err) {
		return err
	}
	if err := g.log.Write('h', fmt.Sprintf("%v: removing everything and cloning anew", err)); err != nil {
		return err
	}
	return g.clobber(ctx)
}

// clobber removes everything and clones.
func (g *checkout) clobber(ctx context.Context) error {
	if err := g.remove(ctx, g.dir); err != nil {
		return err
	}
	return g.clone(ctx)
}

// refresh fetches into a clone, and cleans before and after that: another revision
// may ignore other files.
func (g *checkout) refresh(ctx context.Context, clean []string) error {
	if clean != nil {
		if err := g.git(ctx, clean...); err != nil {
			return err
		}
	}
	err := g.fetchRevision(ctx)
	if g.RetryFetch && failed(ctx, err) {
		err = g.fetchRevision(ctx)
	}
	if err != nil {
		return err
	}
	if err := g.updateSubmodules(ctx); err != nil || clean == nil {
		return err
	}
	if g.Submodules {
		all := "git " + strings.Join(clean, " ")
		if err := g.git(ctx, "submodule", "foreach", "--recursive", all); err != nil {
			return err
		}
	}
	return g.git(ctx, clean...)
}

// fetchRevision fetches what the build wants, unless it is here, and checks it out.
func (g *checkout) fetchRevision(ctx context.Context) error {
	if g.Tags || !git.IsHash(g.stamp.revision) || !g.has(ctx, g.stamp.revision) {
		if err := g.fetch(ctx, g.branch); err != nil {
			return g.explain(ctx, err)
		}
	}
	if g.stamp.revision != "" {
		if err := g.checkOutRevision(ctx); err != nil {
			return err
		}
	} else if err := g.git(ctx, "checkout", "-f", "FETCH_HEAD", "--"); err != nil {
		return err
	}
	if g.branch == "HEAD" || strings.HasPrefix(g.branch, "refs/") {
		return nil
	}
	_, err := g.try(ctx, "checkout", "-B", g.branch) // for who looks at the name of the branch
	return err
}

// checkOutRevision fetches the revision by its hash if what was fetched does not have
// it: it may be on no branch.
func (g *checkout) checkOutRevision(ctx context.Context) error {
	if rev := g.stamp.revision; git.IsHash(rev) && !g.has(ctx, rev) {
		if err := g.fetch(ctx, rev); err != nil {
			if failed(ctx, err) {
				return failure("revision not found")
			}
			return err
		}
	}
	return g.git(ctx, "checkout", "-f", g.stamp.revision, "--")
}

// has reports whether the clone has a commit.
func (g *checkout) has(ctx context.Context, rev string) bool {
	ok, err := g.try(ctx, "cat-file", "-e", rev+"^{commit}")
	return ok && err == nil // the next command meets the same error
}

// fetch fetches a branch or a commit from the repository, whatever the clone has as its
// origin.
func (g *checkout) fetch(ctx context.Context, ref string) error {
	args := []string{"fetch", "-f"}
	if g.Tags {
		args = append(args, "--tags")
	}
	args = append(args, g.transfer()...)
	return g.git(ctx, append(args, g.access.URL, ref)...)
}

// transfer returns the options that clone and fetch have in common.
func (g *checkout) transfer() (args []string) {
	if g.Shallow > 0 {
		args = append(args, "--depth", fmt.Sprint(g.Shallow))
	}
	for _, f := range g.filters {
		args = append(args, "--filter="+f)
	}
	if g.Progress {
		args = append(args, "--progress")
	}
	return args
}

// clone clones into a directory that is empty, as often as retry says.
func (g *checkout) clone(ctx context.Context) error {
	err := g.cloneOnce(ctx)
	for n := int64(0); g.Retry != nil && n < g.Retry.Repeats && failed(ctx, err); n++ {
		text := fmt.Sprintf("the clone failed, the next try is in %g seconds (%d of %d)", g.Retry.Delay, n+1, g.Retry.Repeats)
		if err := g.log.Write('h', text); err != nil {
			return err
		}
		if err := wait(ctx, g.Retry.Delay); err != nil {
			return err
		}
		if err := g.remove(ctx, g.dir); err != nil {
			return err
		}
		err = g.cloneOnce(ctx)
	}
	return err
}

// wait waits some seconds, or until ctx ends.
func wait(ctx context.Context, seconds float64) error {
	timer := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *checkout) cloneOnce(ctx context.Context) error {
	args := append([]string{"clone"}, g.transfer()...)
	byName := g.branch != "HEAD" && !strings.HasPrefix(g.branch, "refs/")
	if byName {
		args = append(args, "--branch", g.branch)
	}
	if g.stamp.revision != "" || g.branch != "HEAD" && !byName {
		args = append(args, "--no-checkout")
	}
	if g.reference != "" {
		args = append(args, "--reference", g.reference)
	}
	if g.origin != "" {
		args = append(args, "--origin", g.origin)
	}
	if err := g.git(ctx, append(args, "--", g.access.URL, ".")...); err != nil {
		return g.explain(ctx, err)
	}
	if g.Tags && g.Shallow > 0 { // a shallow clone has one branch and no tags
		if err := g.fetch(ctx, g.branch); err != nil {
			return err
		}
	}
	var err error
	switch {
	case !byName && g.branch != "HEAD":
		err = g.fetchRevision(ctx)
	case g.stamp.revision != "":
		err = g.checkOutRevision(ctx)
	}
	if err != nil {
		return err
	}
	return g.updateSubmodules(ctx)
}

// updateSubmodules makes the submodules what the revision wants.
func (g *checkout) updateSubmodules(ctx context.Context) error {
	if !g.Submodules {
		return nil
	}
	if err := g.git(ctx, "submodule", "sync", "--recursive"); err != nil {
		return err
	}
	args := []string{"submodule", "update", "--init", "--recursive", "--force", "--checkout"}
	if g.RemoteSubmodules {
		args = append(args, "--remote")
	}
	if g.Shallow > 0 {
		args = append(args, "--depth", fmt.Sprint(g.Shallow))
	}
	return g.git(ctx, args...)
}

// explain finds out whether a fetch failed because there is no such branch; git says so
// in many languages.
func (g *checkout) explain(ctx context.Context, err error) error {
	if !failed(ctx, err) || g.branch == "HEAD" {
		return err
	}
	args := []string{"ls-remote", "--exit-code", g.access.URL, g.branch}
	if !strings.HasPrefix(g.branch, "refs/") {
		args = append(args[:3], "refs/heads/"+g.branch, "refs/tags/"+g.branch)
	}
	result, lerr := g.send(ctx, nil, args...)
	if lerr == nil && result.RC != nil && *result.RC == 2 {
		return failure("no branch " + g.branch)
	}
	return err
}

// What a directory may hold.
type found int

const (
	nothing   found = iota
	something       // but no clone
	broken          // a clone that git does not take for one
	clone
)

// look finds out what dir holds. That git finds a repository in a directory above must
// never be taken for a clone: the worker may live in one.
func (g *checkout) look(ctx context.Context) (found, error) {
	stat, err := g.r.Command(ctx, run.Command{Name: "stat", Args: map[string]any{"path": g.r.WorkerPath(g.dir, ".git")}})
	if err != nil {
		return nothing, err
	}
	if stat.Succeeded() {
		own, err := g.output(ctx, "rev-parse", "--git-dir")
		switch {
		case err == nil && own == ".git":
			return clone, nil
		case err == nil || failed(ctx, err):
			return broken, nil
		}
		return nothing, err
	}
	list, err := g.r.Command(ctx, run.Command{Name: "listdir", Args: map[string]any{"path": g.dir}})
	if err != nil {
		return nothing, err
	}
	files, told := list.Values["files"].([]any)
	if told && len(files) == 0 || list.RC != nil && *list.RC != 0 {
		return nothing, nil
	}
	return something, nil // a stock worker does not tell names that are no UTF-8
}
