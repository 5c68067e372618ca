package changes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"buildstar/engine/change"
)

// batch is how many commits are read at once and become changes in one transaction. It
// bounds the memory that a huge push takes.
const batch = 200

// seen is what a GitPoller remembers, in the transaction that adds the changes.
type seen struct {
	RepoURL string `json:"repourl"`
	// Heads are the commits of the refs, by full name (see [key]), at the last poll.
	Heads map[string]string `json:"heads"`
	// Adding is what a poll was at when it stopped.
	Adding *adding `json:"adding,omitempty"`
}

// adding is a ref whose new commits are too many for one transaction.
type adding struct {
	Ref    string `json:"ref"`
	Commit string `json:"commit"` // where it points now
	Done   int    `json:"done"`   // how many of its commits are changes, oldest first
}

// gitPoll is a GitPoller that runs.
type gitPoll struct {
	*gitPoller
	host  change.Host
	repo  *repository
	dirty bool // the last poll may have left the clone in disorder
	seen  seen
	text  func([]byte) string
}

// poll looks once. What it finds is remembered ref by ref, so that a poll that fails, or
// a master that is killed, neither loses nor repeats a change.
func (p *gitPoll) poll(ctx context.Context) error {
	err := p.look(ctx)
	if p.repo != nil {
		p.repo.close()
	}
	p.dirty = err != nil
	return err
}

func (p *gitPoll) look(ctx context.Context) error {
	access, err := p.Auth.Render(ctx, p.host.Props(), p.RepoURL, sshPort)
	if err != nil {
		return err
	}
	if p.text, err = decoding(p.Encoding); err != nil {
		return err
	}
	p.seen = seen{}
	known, err := p.host.Recall(ctx, &p.seen)
	if err != nil {
		return err
	}
	if p.repo, err = p.open(ctx, access); err != nil {
		return err
	}
	if known = known && p.seen.RepoURL == access.URL; !known {
		p.seen = seen{RepoURL: access.URL}
	}
	if err := p.resume(ctx); err != nil {
		return err
	}
	there, err := p.refs(ctx)
	if err != nil {
		return err
	}
	if known && maps.Equal(there, p.seen.Heads) {
		return nil
	}
	now, err := p.repo.fetch(ctx, there)
	if err != nil {
		return err
	}
	if !known {
		p.seen.Heads = now
		if err := p.host.Add(ctx, p.seen); err != nil {
			return err
		}
		p.host.Logger().Info("looked for the first time: commits that are new from now on become changes", "refs", len(now))
	} else if err := p.compare(ctx, now); err != nil {
		return err
	}
	return p.repo.tidy(ctx)
}

// resume goes on with a ref whose commits became changes in part only.
func (p *gitPoll) resume(ctx context.Context) error {
	a := p.seen.Adding
	if a == nil {
		return nil
	}
	if there, err := p.repo.have(ctx, a.Commit); err != nil {
		return err
	} else if len(there) == 0 {
		p.host.Logger().Warn("the rest of a push is lost with the poller's clone", "ref", a.Ref, "commit", a.Commit, "changes", a.Done)
		p.seen.Adding = nil
		return nil
	}
	return p.advance(ctx, a.Ref, a.Commit, a.Done)
}

// refs asks the repository where the refs that the poller looks at are.
func (p *gitPoll) refs(ctx context.Context) (map[string]string, error) {
	all, def, err := p.repo.list(ctx, p.patterns())
	if err != nil {
		return nil, err
	}
	chosen := make(map[string]string)
	for ref, commit := range all {
		ok, err := p.wants(ctx, p.host.Props(), p.text([]byte(ref)), def)
		if err != nil {
			return nil, err
		}
		if ok {
			chosen[key(ref)] = commit
		}
	}
	return chosen, nil
}

// compare makes changes of what is new, and remembers where the refs are now.
func (p *gitPoll) compare(ctx context.Context, now map[string]string) error {
	for _, ref := range slices.Sorted(maps.Keys(now)) {
		if now[ref] == p.seen.Heads[ref] {
			continue
		}
		if err := p.advance(ctx, ref, now[ref], 0); err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
	}
	if len(p.seen.Heads) == len(now) {
		return nil
	}
	// Only now: the commits of a branch that is gone are not new where it was merged to.
	p.seen.Heads = now
	return p.host.Add(ctx, p.seen)
}

// advance makes changes of the commits that a ref got, but for the first done, oldest
// first.
func (p *gitPoll) advance(ctx context.Context, ref, commit string, done int) error {
	list, err := p.news(ctx, ref, commit)
	if err != nil {
		return err
	}
	total := len(list)
	list = list[min(done, total):]
	for {
		part := list[:min(batch, len(list))]
		list = list[len(part):]
		changes, err := p.changes(ctx, ref, part)
		if err != nil {
			return err
		}
		next := seen{RepoURL: p.seen.RepoURL, Heads: maps.Clone(p.seen.Heads)}
		if len(list) > 0 {
			next.Adding = &adding{ref, commit, total - len(list)}
			p.host.Logger().Info("adding the changes of a big push", "ref", ref, "done", next.Adding.Done, "of", total)
		} else {
			if next.Heads == nil {
				next.Heads = make(map[string]string)
			}
			next.Heads[ref] = commit
		}
		if err := p.host.Add(ctx, next, changes...); err != nil {
			return err
		}
		if p.seen = next; len(list) == 0 {
			return nil
		}
	}
}

// news lists the commits of a ref that no ref had at the last poll, oldest first.
func (p *gitPoll) news(ctx context.Context, ref, commit string) ([]string, error) {
	known := slices.Compact(slices.Sorted(maps.Values(p.seen.Heads)))
	have, err := p.repo.have(ctx, known...)
	if err != nil {
		return nil, err
	}
	if len(known) > 0 && len(have) == 0 {
		// The clone is another one, and the history was rewritten: all of it would look new.
		p.host.Logger().Warn("nothing of what was seen before is left; only the newest commit becomes a change", "ref", ref)
		return []string{commit}, nil
	}
	list, err := p.repo.commits(ctx, commit, have)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 && p.BuildPushesWithNoCommits {
		list = []string{commit}
	}
	return list, nil
}

// changes reads commits as changes.
func (p *gitPoll) changes(ctx context.Context, ref string, list []string) ([]change.Input, error) {
	commits, err := p.repo.read(ctx, list)
	if err != nil {
		return nil, err
	}
	branch := strings.TrimPrefix(p.text([]byte(unkey(ref))), heads)
	changes := make([]change.Input, 0, len(commits))
	for _, c := range commits {
		in := change.Input{
			Author: p.text(c.author), Committer: p.text(c.committer), Comments: strings.TrimSpace(p.text(c.message)),
			Branch: branch, Revision: c.hash, Repository: p.seen.RepoURL, Project: p.Project, Codebase: p.Codebase,
		}
		if p.UseTimestamps {
			in.When = c.when
		}
		for _, f := range c.files {
			in.Files = append(in.Files, p.text(f))
		}
		if in.Category, err = p.category(ctx, p.host.Props(), in); err != nil {
			return nil, err
		}
		changes = append(changes, in)
	}
	return changes, nil
}
