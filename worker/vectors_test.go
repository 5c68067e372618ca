package worker

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"buildstar/conn/wire"
)

// The files testdata/msgpack-*.jsonl record what a stock master and a stock worker
// (3.7.0) said to each other. TestVectors has our worker do the same commands.

// recorded is one command of a recording and what the stock worker said about it.
type recorded struct {
	id, name string
	args     map[string]any
	refuse   string // the request that the stock master answered with an exception
	want     outcome
}

// outcome is what is compared.
type outcome struct {
	Keys    []string // adjacent equal ones once
	Ops     []string // of the worker's requests
	RC      any
	Failed  bool // complete has an error text
	Header  string
	Outputs map[string]string
	Files   any
}

// differences are the places where our worker is not like the stock one, and why. The
// function changes what the stock worker said into what ours is to say.
var differences = map[string]struct {
	why    string
	change func(*outcome)
}{
	"timeout 19": {"failure_reason is said, as newer stock workers do", func(o *outcome) {
		o.Keys = slices.Insert(o.Keys, 2, wire.FailureReason)
	}},
	"maxtime 20": {"failure_reason is said, as newer stock workers do; how often the loop ran is chance", func(o *outcome) {
		o.Keys = slices.Insert(o.Keys, 2, wire.FailureReason)
		o.Outputs[wire.Stdout] = "x"
	}},
	"logfile 41": {"files are read four times as often, so they are sent in other places; names in a header are sorted", func(o *outcome) {
		o.Header = strings.Replace(o.Header, "{'tlog': 'test.log', 'f2': {'filename': 'follow.log', 'follow': True}}",
			"{'f2': {'filename': 'follow.log', 'follow': True}, 'tlog': 'test.log'}", 1)
	}},
	"upload 25": {"a refused keepstamp is a failure, also by its rc", func(o *outcome) { o.RC = int64(1) }},
	"fs 32": {"cpdir needs no cp, so it does not name every file", func(o *outcome) {
		o.Keys = []string{wire.Header, wire.RC, wire.Elapsed}
		o.Header = "copying BASE/fs-wm/build/x to BASE/fs-wm/build/z\n"
		o.Outputs = map[string]string{}
	}},
}

const recordedBase = "/srv/ci/bots/wm"

func TestVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/msgpack-*.jsonl")
	if err != nil || len(files) != 12 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "msgpack-"), ".jsonl")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := startWorker(t)
			m.settings(wire.StockNewlines, 4096, 65536, 5)
			for _, rec := range readRecording(t, file) {
				t.Run(rec.id+" "+rec.name, func(t *testing.T) { replay(t, m, name, rec) })
			}
		})
	}
}

func replay(t *testing.T, m *master, file string, rec recorded) {
	args, _ := substitute(rec.args, recordedBase, m.basedir).(map[string]any)
	r := m.run(rec.name, args, func(r *remote) {
		r.source = strings.NewReader("") // the stock master gave nothing (docs/protocol.md 0.1 item 1)
		r.refuse = rec.refuse
	})
	got := outcome{
		Keys: r.keys, Ops: compact(r.ops), RC: r.values[wire.RC], Failed: r.failure != nil,
		Header: r.texts[wire.Header], Outputs: map[string]string{}, Files: r.values[wire.Files],
	}
	for key, text := range r.texts {
		if key != wire.Header {
			got.Outputs[key] = text
		}
	}
	want := rec.want
	if d, ok := differences[file+" "+rec.id]; ok {
		d.change(&want)
	}
	if file == "logfile" || file == "maxtime" { // what is printed around a poll or the kill may come before or after
		slices.Sort(got.Keys)
		slices.Sort(want.Keys)
		got.Keys, want.Keys = slices.Compact(got.Keys), slices.Compact(want.Keys)
	}
	normalize(&got, m.basedir)
	normalize(&want, recordedBase)
	if file == "maxtime" {
		got.Outputs[wire.Stdout] = strings.TrimRight(strings.ReplaceAll(got.Outputs[wire.Stdout], "x\nx", "x"), "\nx") + "x"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stock worker (-) and ours (+):\n%s", diff)
	}
}

func compact(ops []string) []string { return slices.Compact(slices.Clone(ops)) }

var (
	environLine = regexp.MustCompile(`(?m)^  ([^A]|A[^=]).*\n`)
	elapsedTime = regexp.MustCompile(`elapsedTime=[0-9.]+`)
	bytesPrefix = regexp.MustCompile(`\bb(['"])`)
	listingDate = regexp.MustCompile(`root root +0 .{12} `)
	terminal    = regexp.MustCompile(`/dev/pts/\d+`)
)

// normalize takes out what depends on the machine and the moment, and the b of Python's
// bytes, which ours does not write.
func normalize(o *outcome, base string) {
	o.Header = strings.ReplaceAll(o.Header, base, "BASE")
	o.Header = environLine.ReplaceAllString(o.Header, "")
	o.Header = elapsedTime.ReplaceAllString(o.Header, "elapsedTime=N")
	o.Header = bytesPrefix.ReplaceAllString(o.Header, "$1")
	for key, text := range maps.Clone(o.Outputs) {
		text = strings.ReplaceAll(text, base, "BASE")
		text = listingDate.ReplaceAllString(text, "root root DATE ")
		o.Outputs[key] = terminal.ReplaceAllString(text, "/dev/pts/N")
	}
	if o.Files != nil {
		o.Files = substitute(o.Files, base, "BASE")
	}
}

// substitute replaces text in all strings of v.
func substitute(v any, from, to string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, from, to)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = substitute(e, from, to)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for key, e := range v {
			out[key] = substitute(e, from, to)
		}
		return out
	}
	return v
}

// whole makes whole numbers of JSON's.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) {
			return int64(v)
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = whole(v[key])
		}
	}
	return v
}

func readRecording(t *testing.T, path string) []recorded {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []*recorded
	byID := map[string]*recorded{}
	ops := map[string]string{} // of the worker's requests, by seq_number
	ids := map[string]string{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Dir     string
			Decoded map[string]any
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		msg, _ := whole(line.Decoded).(map[string]any)
		op, _ := msg[wire.KeyOp].(string)
		id, _ := msg[wire.KeyCommandID].(string)
		seq := fmt.Sprint(msg[wire.KeySeq])
		switch {
		case line.Dir == "m2w" && op == wire.OpStartCommand:
			rec := &recorded{id: id, want: outcome{Outputs: map[string]string{}}}
			rec.name, _ = msg[wire.KeyCommandName].(string)
			rec.args, _ = msg[wire.KeyArgs].(map[string]any)
			list, byID[id] = append(list, rec), rec
		case line.Dir == "m2w" && op == wire.OpResponse && msg[wire.KeyException] != nil:
			byID[ids[seq]].refuse = ops[seq]
		case line.Dir == "w2m" && byID[id] != nil:
			ops[seq], ids[seq] = op, id
			byID[id].said(op, msg[wire.KeyArgs])
		}
	}
	out := make([]recorded, len(list))
	for i, rec := range list {
		rec.want.Ops = compact(rec.want.Ops)
		out[i] = *rec
	}
	return out
}

// said notes one message of the stock worker.
func (rec *recorded) said(op string, args any) {
	o := &rec.want
	if op != wire.OpUpdate {
		o.Ops = append(o.Ops, op)
		o.Failed = op == wire.OpComplete && args != nil
		return
	}
	list, _ := args.([]any)
	for _, e := range list {
		pair, _ := e.([]any)
		key, _ := pair[0].(string)
		value := pair[1]
		if key == wire.Log {
			log, _ := value.([]any)
			key, value = key+":"+log[0].(string), log[1]
		}
		if n := len(o.Keys); n == 0 || o.Keys[n-1] != key {
			o.Keys = append(o.Keys, key)
		}
		text, isText := value.([]any)
		switch {
		case key == wire.RC:
			o.RC = value
		case key == wire.Files:
			o.Files = value
		case key == wire.Header:
			o.Header += text[0].(string)
		case isText && key != wire.StatResult:
			o.Outputs[key] += text[0].(string)
		}
	}
}
