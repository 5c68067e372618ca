package state

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"buildstar/config"
	"github.com/google/go-cmp/cmp"
)

// frame is one event as Buildbot sent it to its page.
type frame struct {
	K string
	M json.RawMessage
}

func frames(t *testing.T) (all []frame) {
	t.Helper()
	f, err := os.Open("testdata/events.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var fr frame
		if err := json.Unmarshal(lines.Bytes(), &fr); err != nil {
			t.Fatal(err)
		}
		all = append(all, fr)
	}
	return all
}

func decode[T any](t *testing.T, data []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// event makes our event of a recorded row.
func event(t *testing.T, f frame) Event {
	words := strings.Split(f.K, "/")
	verb := words[len(words)-1]
	kind := words[0]
	if len(words) > 3 {
		kind = words[2]
	}
	switch kind {
	case "builds":
		return decode[Build](t, f.M).Event(verb)
	case "properties":
		return PropertiesEvent(16, decode[Properties](t, f.M))
	case "buildrequests":
		return decode[BuildRequest](t, f.M).Event(verb)
	case "buildsets":
		return decode[Buildset](t, f.M).Event(verb)
	case "steps":
		return decode[Step](t, f.M).Event(verb)
	case "logs":
		return decode[Log](t, f.M).Event(verb)
	}
	t.Fatalf("unexpected event %s", f.K)
	return Event{}
}

// Every event of a recorded forced build has a key of ours and our row is the same
// JSON, byte for byte (docs/ui-contract.md section 4).
func TestRecordedEvents(t *testing.T) {
	all := frames(t)
	if len(all) < 20 {
		t.Fatalf("only %d recorded events", len(all))
	}
	for _, f := range all {
		e := event(t, f)
		if e.Key != f.K && !slices.Contains(e.Aliases, f.K) {
			t.Errorf("recorded %s, ours is %s and %v", f.K, e.Key, e.Aliases)
		}
		got := e.Row.(interface{ AppendJSON([]byte) []byte }).AppendJSON(nil)
		if diff := cmp.Diff(string(f.M), string(got)); diff != "" {
			t.Errorf("%s: %s", f.K, diff)
		}
	}
}

func TestEventKeys(t *testing.T) {
	tests := []struct {
		event Event
		want  []string
	}{
		{Master{ID: 1}.Event("started"), []string{"masters/1/started"}},
		{Builder{ID: 2}.Event("update"), []string{"builders/2/update", "masters/1/builders/2/update"}},
		{Builder{ID: 2, ProjectID: 3}.Event("update"), []string{"builders/2/update", "masters/1/builders/2/update", "projects/3/builders/2/update"}},
		{Project{ID: 2}.Event("new"), []string{"projects/2/new"}},
		{Worker{ID: 2}.Event("missing"), []string{"workers/2/missing", "masters/1/workers/2/missing"}},
		{ChangeSource{ID: 4}.Event("updated"), []string{"changesources/4/updated", "masters/1/changesources/4/updated"}},
		{Scheduler{ID: 2}.Event("updated"), []string{"schedulers/2/updated", "masters/1/schedulers/2/updated"}},
		{Change{ID: 2}.Event("new"), []string{"changes/2/new"}},
		{Buildset{ID: 2}.Event("new"), []string{"buildsets/2/new"}},
		{BuildRequest{ID: 2, BuilderID: 3, BuildsetID: 4}.Event("cancel"), []string{"buildrequests/2/cancel", "builders/3/buildrequests/2/cancel", "buildsets/4/buildrequests/2/cancel"}},
		{Build{ID: 2, BuilderID: 3}.Event("new"), []string{"builds/2/new", "builders/3/builds/2/new"}},
		{Build{ID: 2, BuilderID: 3, WorkerID: 4, RequestID: 5}.Event("new"), []string{"builds/2/new", "builders/3/builds/2/new", "workers/4/builds/2/new", "buildrequests/5/builds/2/new"}},
		{PropertiesEvent(2, nil), []string{"builds/2/properties/update"}},
		{Step{ID: 2, BuildID: 3, Number: 4}.Event("started"), []string{"steps/2/started", "builds/3/steps/2/started"}},
		{Log{ID: 2, StepID: 3, Slug: "stdio"}.Event("append"), []string{"logs/2/append", "steps/3/logs/stdio/append"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, append([]string{tt.event.Key}, tt.event.Aliases...)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestNulls(t *testing.T) {
	text := "x"
	tests := []struct{ want, got string }{
		{`{"masterid":1,"name":"m","active":true,"last_active":null}`, string(Master{ID: 1, Name: "m", Active: true}.AppendJSON(nil))},
		{`{"builderid":2,"name":"b","description":null,"description_format":null,"description_html":null,"projectid":null,"tags":[],"masterids":[]}`,
			string(Builder{ID: 2, Name: "b"}.AppendJSON(nil))},
		{`{"builderid":2,"name":"b","description":"d","description_format":null,"description_html":null,"projectid":3,"tags":["x","\u003cy\u003e"],"masterids":[1]}`,
			string(Builder{ID: 2, Name: "b", Description: "d", ProjectID: 3, Tags: []string{"x", "<y>"}, Active: true}.AppendJSON(nil))},
		{`{"workerid":2,"name":"w","connected_to":[],"workerinfo":{},"paused":false,"pause_reason":null,"graceful":false,"paused_by":null,"paused_at":null,"graceful_reason":null,"graceful_by":null,"graceful_at":null,` +
			`"quarantine_since":null,"quarantine_until":null,"quarantine_count":0,"quarantine_cause":null,"quarantine_buildid":null,"changed_at":null}`, string(Worker{ID: 2, Name: "w"}.AppendJSON(nil))},
		{`{"workerid":2,"name":"w","connected_to":[{"masterid":1}],"workerinfo":{"a":1},"paused":true,"pause_reason":"x","graceful":true,"paused_by":"p","paused_at":1,"graceful_reason":"r","graceful_by":"g","graceful_at":2,` +
			`"quarantine_since":3,"quarantine_until":4,"quarantine_count":5,"quarantine_cause":"c","quarantine_buildid":6,"changed_at":7}`,
			string(Worker{ID: 2, Name: "w", Connected: true, Info: `{"a":1}`, Paused: true, PauseReason: "x", PausedBy: "p", PausedAt: 1000,
				Graceful: true, GracefulReason: "r", GracefulBy: "g", GracefulAt: 2000, ChangedAt: 7000,
				Quarantine: Quarantine{Since: 3000, Until: 4000, Count: 5, Cause: "c", BuildID: 6}}.AppendJSON(nil))},
		{`{"changesourceid":4,"name":"c","error":null}`, string(ChangeSource{ID: 4, Name: "c"}.AppendJSON(nil))},
		{`{"schedulerid":2,"name":"s","enabled":true,"error":null,"error_at":null,"acted_at":null}`, string(Scheduler{ID: 2, Name: "s", Enabled: true}.AppendJSON(nil))},
		{`{"projectid":2,"name":"p","slug":"s","description":null,"description_format":null,"description_html":null,"active":false}`, string(Project{ID: 2, Name: "p", Slug: "s"}.AppendJSON(nil))},
		{`{"ssid":2,"branch":null,"revision":"x","project":"","repository":"","codebase":"","created_at":1,"patch":null}`, string(SourceStamp{ID: 2, Revision: &text, CreatedAt: 1999}.AppendJSON(nil))},
		{`{"changeid":2,"author":"a","committer":null,"branch":null,"category":null,"codebase":"","comments":"","files":[],"parent_changeids":[],"project":"","properties":{},"repository":"","revision":null,"revlink":null,"when_timestamp":1,"sourcestamp":{"ssid":3,"branch":null,"revision":null,"project":"","repository":"","codebase":"","created_at":null,"patch":null}}`,
			string(Change{ID: 2, Author: "a", When: 1999, ReceivedAt: 5000, SourceStamp: SourceStamp{ID: 3}}.AppendJSON(nil))},
		{`{"changeid":2,"author":"a","committer":"x","branch":"x","category":"x","codebase":"c","comments":"d","files":["f"],"parent_changeids":[1],"project":"p","properties":{"a":[1,"s"]},"repository":"r","revision":"x","revlink":"x","when_timestamp":1,"sourcestamp":{"ssid":3,"branch":null,"revision":null,"project":"","repository":"","codebase":"","created_at":null,"patch":null}}`,
			string(Change{ID: 2, Author: "a", Committer: &text, Branch: &text, Category: &text, Codebase: "c", Comments: "d", Files: []string{"f"}, ParentIDs: []int64{1}, Project: "p",
				Properties: Properties{"a": {Value: int64(1), Source: "s"}}, Repository: "r", Revision: &text, RevLink: &text, When: 1000, SourceStamp: SourceStamp{ID: 3}}.AppendJSON(nil))},
		{`{"a":[1.0,"s"],"b":[null,""]}`, string(Properties{"b": {}, "a": {Value: 1.0, Source: "s", Secrets: []string{"x"}}}.AppendJSON(nil))},
		{`{"a":[1.0,"s",["x","y"]],"b":[null,""]}`, string(Properties{"b": {}, "a": {Value: 1.0, Source: "s", Secrets: []string{"x", "y"}}}.AppendKept(nil))},
		{`[{"name":"n","url":"u"}]`, string(AppendURLs(nil, []URL{{"n", "u"}}))},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Error(diff)
		}
	}
	b := Build{ID: 1, Results: config.Unfinished}
	for _, row := range []json.Marshaler{b, BuildRequest{Results: config.Unfinished}, Step{}, Log{}, Buildset{}, Change{}, Master{}, Builder{}, Project{}, Worker{}, Scheduler{}, ChangeSource{}, SourceStamp{}, Properties{"a": {}}, Property{}} {
		got, err := json.Marshal(row)
		want, _ := row.MarshalJSON()
		if err != nil || string(got) != string(want) {
			t.Errorf("%T: %s, %v; want %s", row, got, err, want)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\b\f\n\r\t\x00\x1f\x7f", "<script>&", "é\u2028\u2029\xff\xc3", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendString(nil, s); string(got) != string(want) {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	})
}

func FuzzProperty(f *testing.F) {
	f.Add(`[1,"a"]`)
	f.Add(`["<x>","a",["x"]]`)
	f.Add(`[{"a":[1.0,1e400,true,null,18446744073709551615]},"s"]`)
	f.Fuzz(func(t *testing.T, data string) {
		var p, again Property
		if json.Unmarshal([]byte(data), &p) != nil {
			return
		}
		out := p.AppendJSON(nil)
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if diff := cmp.Diff(string(out), string(again.AppendJSON(nil))); diff != "" {
			t.Error(diff)
		}
	})
}

func BenchmarkBuildJSON(b *testing.B) {
	row := Build{ID: 16, Number: 3, BuilderID: 3, RequestID: 34, WorkerID: 1, StartedAt: 1795321398000, StateString: "build successful", Complete: true}
	var dst []byte
	for b.Loop() {
		dst = row.AppendJSON(dst[:0])
	}
}
