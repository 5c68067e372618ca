package ui

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/state"
)

// trigger makes a buildset that a build triggered, with a request, and opens a build of
// it if open is set.
func (f *fixture) trigger(t testing.TB, parent, seq, builder int64, open bool) (request, build int64) {
	t.Helper()
	f.update(t, func(tx state.Tx) error {
		ss, err := tx.AddSourceStamp(state.SourceStamp{})
		if err != nil {
			return err
		}
		_, ids, err := tx.AddBuildset(state.Buildset{Scheduler: "docs-" + evil, ParentBuildID: parent, ParentStep: 1, ParentSeq: seq,
			ParentRelationship: "Part of " + evil, SourceStamps: []state.SourceStamp{{ID: ss}}}, []state.BuildRequest{{BuilderID: builder, WaitedFor: true}})
		if err != nil {
			return err
		}
		if request = ids[0]; !open {
			return nil
		}
		if err := tx.Claim(1, request); err != nil {
			return err
		}
		b, err := tx.AddBuild(state.Build{BuilderID: builder, RequestID: request, StartedAt: state.Now(), StateString: "waiting for builds it triggered"})
		build = b.ID
		return err
	})
	return request, build
}

// The page of a build links to the build that triggered it, and lists what it
// triggered itself, to any depth, with what became of it.
func TestBuildFamily(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	top := f.addBuild(t, 1, state.Now(), config.Unfinished)
	first, child := f.trigger(t, top.ID, 0, 2, true)
	grand, _ := f.trigger(t, child, 0, 3, false)
	second, _ := f.trigger(t, top.ID, 1, 3, false)
	f.update(t, func(tx state.Tx) error { return tx.CompleteRequest(second, config.Cancelled, state.Now()) })

	page := "/b/" + fmt.Sprint(top.ID)
	at := get(t, h, page).Header().Get("Location")
	var m buildModel
	decode(t, get(t, h, at, "Accept", "application/json"), &m)
	var got []string
	for _, c := range m.Children {
		got = append(got, fmt.Sprintf("%d %d %s %v", c.Level, c.RequestID, c.Status, c.Build != nil))
	}
	want := []string{fmt.Sprintf("1 %d running true", first), fmt.Sprintf("2 %d waiting false", grand), fmt.Sprintf("1 %d cancelled false", second)}
	if !slices.Equal(got, want) || m.Tally() != "1 cancelled, 1 running, 1 waiting" || m.Parent != nil {
		t.Errorf("children %q, %q, parent %v", got, m.Tally(), m.Parent)
	}
	body := get(t, h, at).Body.String()
	checkSafe(t, body)
	for _, pattern := range []string{"builds/" + fmt.Sprint(child) + "/*", "/buildrequests/*/*"} {
		if !strings.Contains(body, pattern) {
			t.Errorf("the page does not follow %s", pattern)
		}
	}

	var c buildModel
	at = get(t, h, "/b/"+fmt.Sprint(child)).Header().Get("Location")
	decode(t, get(t, h, at, "Accept", "application/json"), &c)
	if c.Parent == nil || c.Parent.ID != top.ID || c.Parent.Relationship != "Part of "+evil || len(c.Children) != 1 {
		t.Errorf("parent %+v, children %+v", c.Parent, c.Children)
	}
	checkSafe(t, get(t, h, at).Body.String())
}

// A build that triggers builds without end is listed in part.
func TestBuildFamilyIsBounded(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	top := f.addBuild(t, 1, state.Now(), config.Unfinished)
	for i := range int64(maxFamily + 1) {
		f.trigger(t, top.ID, i, 2, false)
	}
	for id := top.ID; id < top.ID+9; { // a chain deeper than what is shown
		_, id = f.trigger(t, id, 1000, 3, true)
	}
	h := f.handler(t)
	at := get(t, h, "/b/"+fmt.Sprint(top.ID)).Header().Get("Location")
	var m buildModel
	decode(t, get(t, h, at, "Accept", "application/json"), &m)
	if len(m.Children) != maxFamily || !m.MoreChildren {
		t.Errorf("%d children, more: %v", len(m.Children), m.MoreChildren)
	}
	at = get(t, h, "/b/"+fmt.Sprint(top.ID+1)).Header().Get("Location")
	m = buildModel{}
	decode(t, get(t, h, at, "Accept", "application/json"), &m)
	if n := len(m.Children); n != maxLevels || m.Children[n-1].Indent() != "↳ ↳ ↳ ↳ ↳ " {
		t.Errorf("%d levels", n)
	}
}
