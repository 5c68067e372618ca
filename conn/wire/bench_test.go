package wire

import (
	"bytes"
	"testing"
)

func BenchmarkParseUpdate(b *testing.B) {
	long := append(bytes.Repeat([]byte("x"), 79), '\n')
	for _, bench := range []struct {
		name string
		text []byte
	}{
		{"80-byte lines", bytes.Repeat(long, 220)},
		{"yes", bytes.Repeat([]byte("y\n"), 3600)},
	} {
		lines := bytes.Count(bench.text, []byte("\n"))
		frame, err := AppendUpdate(nil, 1, "1-1", []Entry{{Key: Stdout, Text: bench.text, Times: []TimeRun{{lines, 1_700_000_000_000}}}})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(bench.text)))
			b.ReportAllocs()
			var m Message
			for b.Loop() {
				if err := m.Parse(frame); err != nil || len(m.Entries) != 1 {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendStartCommand(b *testing.B) {
	fields := map[string]any{KeyCommandID: "1-1", KeyCommandName: CmdShell, KeyArgs: map[string]any{
		"workdir": "/home/bot/worker/builder/build", "command": []string{"make", "check"}, "env": nil, "want_stdout": true,
		"want_stderr": true, "logfiles": map[string]any{}, "timeout": 1200, "maxTime": nil, "sigtermTime": nil, "usePTY": false,
		"logEnviron": false, "initial_stdin": nil, "interruptSignal": "KILL"}}
	b.ReportAllocs()
	buf := GetBuffer()
	for b.Loop() {
		out, err := AppendRequest(buf.B[:0], 1, OpStartCommand, fields)
		if err != nil {
			b.Fatal(err)
		}
		buf.B = out
	}
}

func BenchmarkAppendUpdate(b *testing.B) {
	text := bytes.Repeat(append(bytes.Repeat([]byte("x"), 79), '\n'), 220)
	entries := []Entry{{Key: Stdout, Text: text, Times: []TimeRun{{220, 1_700_000_000_000}}}}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf, _ = AppendUpdate(buf[:0], 1, "1-1", entries)
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = AppendResponse(buf[:0], 12345, nil)
	}
}
