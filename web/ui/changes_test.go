package ui

import (
	"fmt"
	"strings"
	"testing"

	"buildstar/state"
)

// Changes are listed newest first, by branch or author, page by page.
func TestChanges(t *testing.T) {
	f := newFixture(t)
	f.update(t, func(tx state.Tx) error {
		for i := range pageRows + 2 {
			branch := fmt.Sprint("b", i%2)
			if _, err := tx.AddChange(state.Change{Author: fmt.Sprintf("who%d.", i), Branch: &branch, Comments: fmt.Sprintf("change %d.", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	h := f.handler(t)
	for _, tt := range []struct {
		path      string
		has, lack []string
	}{
		{"/changes", []string{"change 51.", "change 2.", "before=3"}, []string{"change 1.", "Newest"}},
		{"/changes?before=3", []string{"change 1.", "change 0.", "Newest"}, []string{"change 2.", "Older"}},
		{"/changes?branch=b1", []string{"change 51.", "change 1."}, []string{"change 50.", "Older"}},
		{"/changes?author=who7.", []string{"change 7."}, []string{"change 8.", "Older"}},
		{"/changes?author=nobody", []string{"No such changes"}, []string{"change 1."}},
	} {
		w := get(t, h, tt.path)
		for _, s := range tt.has {
			if w.Code != 200 || !strings.Contains(w.Body.String(), s) {
				t.Errorf("%s: %d, lacks %q", tt.path, w.Code, s)
			}
		}
		for _, s := range tt.lack {
			if strings.Contains(w.Body.String(), s) {
				t.Errorf("%s: has %q", tt.path, s)
			}
		}
	}
	if w := get(t, h, "/changes?before=x"); w.Code != 400 {
		t.Errorf("before=x: %d", w.Code)
	}
	if w := get(t, h, "/changes/7"); w.Code != 302 || w.Header().Get("Location") != "/changes?before=8#c-7" {
		t.Errorf("/changes/7: %d %s", w.Code, w.Header().Get("Location"))
	}
}

// The page of a build shows what changed since its builder was last successful.
func TestChangesOfABuildPage(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	f.update(t, func(tx state.Tx) error {
		b, err := state.One(tx.Builds(state.Where("buildid", int64(1))))
		if err != nil {
			return err
		}
		r, err := state.One(tx.BuildRequests(state.Where("buildrequestid", b.RequestID)))
		if err != nil {
			return err
		}
		sets, err := tx.Buildsets(state.Where("bsid", r.BuildsetID))
		if err != nil {
			return err
		}
		s := sets[0].SourceStamps[0]
		_, err = tx.AddChange(state.Change{Author: "eve", Comments: "the cause", Branch: s.Branch, Revision: s.Revision, Project: s.Project, Repository: s.Repository, Codebase: s.Codebase})
		return err
	})
	w := get(t, f.handler(t), "/b/1")
	body := get(t, f.handler(t), w.Header().Get("Location")+"?tab=changes").Body.String()
	if !strings.Contains(body, "the cause") || !strings.Contains(body, "eve") {
		t.Errorf("the page lacks the change: %s", body)
	}
}
