package worker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"buildstar/conn/wire"
)

func set(t testing.TB, pattern string, maxLine int) *settings {
	t.Helper()
	nl, err := compileNewlines(pattern)
	if err != nil {
		t.Fatal(err)
	}
	s := defaultSettings()
	s.newlines, s.maxLine = nl, maxLine
	return s
}

// feed gives chunks to a line maker and returns all text and the number of timed
// lines.
func feed(t testing.TB, s *settings, chunks ...string) (string, int) {
	t.Helper()
	m := lineMaker{set: s}
	var out strings.Builder
	timed := 0
	take := func(text []byte, runs []wire.TimeRun) {
		if len(text) > 0 && text[len(text)-1] != '\n' {
			t.Errorf("%q is not whole lines", text)
		}
		out.Write(text)
		for _, run := range runs {
			timed += run.Lines
		}
	}
	for i, c := range chunks {
		p := []byte(c)
		text, runs := m.add(p, int64(i))
		take(text, runs)
		for j := range p { // the pipe's buffer is used again
			p[j] = '#'
		}
	}
	text, runs := m.end(int64(len(chunks)))
	take(text, runs)
	return out.String(), timed
}

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		name    string
		pattern string
		maxLine int
		chunks  []string
		want    string
	}{
		{"whole", wire.NoNewlines, 100, []string{"a\nb\n"}, "a\nb\n"},
		{"unfinished", wire.NoNewlines, 100, []string{"a", "b", "c\nd"}, "abc\nd\n"},
		{"nothing", wire.NoNewlines, 100, []string{"", ""}, ""},
		{"empty lines", wire.NoNewlines, 100, []string{"\n", "\n\n"}, "\n\n\n"},
		{"exactly as long as may be", wire.NoNewlines, 3, []string{"abc\nabc", "\n"}, "abc\nabc\n"},
		{"cut", wire.NoNewlines, 3, []string{"abcd\nabc", "defg\n"}, "abc\nd\nabc\ndef\ng\n"},
		{"characters, not bytes", wire.NoNewlines, 3, []string{"\u00e9\u00e9\u00e9\n\u00e9\u00e9\u00e9\u00e9"}, "\u00e9\u00e9\u00e9\n\u00e9\u00e9\u00e9\n\u00e9\n"},
		{"raw CR", wire.NoNewlines, 100, []string{"a\rb\r\n"}, "a\rb\r\n"},
		{"CR LF", wire.StockNewlines, 100, []string{"a\r\nb\r", "\nc"}, "a\nb\nc\n"},
		{"CR", wire.StockNewlines, 100, []string{"a\rb\r", "c\r"}, "a\nb\nc\r\n"},
		{"CR CR LF", wire.StockNewlines, 100, []string{"a\r\r\nb"}, "a\n\nb\n"},
		{"backspaces", wire.StockNewlines, 100, []string{"a\b\b\bb"}, "a\nb\n"},
		{"escapes", wire.StockNewlines, 100, []string{"a\033[2Jb\033[uc\033[12;3Hd\033[1;1fe"}, "a\nb\nc\nd\ne\n"},
		{"split escapes", wire.StockNewlines, 100, []string{"a\033", "[", "12", ";3", "Hb"}, "a\nb\n"},
		{"other escapes", wire.StockNewlines, 100, []string{"\033[31mred\033[0m\033[1J\033[;H\033[3;m\n"}, "\033[31mred\033[0m\033[1J\033[;H\033[3;m\n"},
		{"endless number", wire.StockNewlines, 1000, []string{"\033[" + strings.Repeat("1", 100) + ";1Hx"}, "\033[" + strings.Repeat("1", 100) + ";1Hx\n"},
		{"a pattern of the master's", "\\r\\n|XX", 100, []string{"aX", "Xb\r", "\nc"}, "a\nb\nc\n"},
		{"split character", wire.NoNewlines, 100, []string{"\xf0", "\x9f", "\x98\x80\n"}, "\U0001f600\n"},
		{"begun character", wire.NoNewlines, 100, []string{"\xe2\x82", "x\n"}, "\ufffdx\n"},
		{"begun and ended", wire.NoNewlines, 100, []string{"a\xe2\x82"}, "a\ufffd\n"},
		{"surrogate and overlong", wire.NoNewlines, 100, []string{"\xed\xa0\x80|\xc0\xaf|\xf4\x90\x80\x80\n"},
			"\ufffd\ufffd\ufffd|\ufffd\ufffd|\ufffd\ufffd\ufffd\ufffd\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, timed := feed(t, set(t, tt.pattern, tt.maxLine), tt.chunks...)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if n := strings.Count(got, "\n"); timed != n {
				t.Errorf("%d lines have a time, want %d", timed, n)
			}
		})
	}
}

// A line's time is that of its first piece.
func TestLineTimes(t *testing.T) {
	m := lineMaker{set: set(t, wire.NoNewlines, 100)}
	m.add([]byte("a"), 1)
	m.add([]byte("b"), 2)
	text, runs := m.add([]byte("c\nd\ne\nf"), 3)
	if string(text) != "abc\nd\ne\n" || fmt.Sprint(runs) != "[{1 1} {2 3}]" {
		t.Errorf("%q at %v", text, runs)
	}
	text, runs = m.add([]byte("\n"), 4)
	if string(text) != "f\n" || fmt.Sprint(runs) != "[{1 3}]" {
		t.Errorf("%q at %v", text, runs)
	}
}

// However a stream is cut into chunks, the same text comes out, nothing is lost, and
// no line is too long.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\xff\n\033[2J\b\bx\u00e9\U0001f600"), 3, 5, true)
	f.Add([]byte("abcdefghij\r"), 1, 3, false)
	f.Fuzz(func(t *testing.T, data []byte, step, maxLine int, stock bool) {
		if step < 1 || maxLine < 1 || len(data) > 1<<16 {
			return
		}
		pattern := wire.NoNewlines
		if stock {
			pattern = wire.StockNewlines
			data = bytes.ReplaceAll(data, []byte("\b"), nil) // a run that is cut is two
		}
		whole, _ := feed(t, set(t, pattern, len(data)+1), string(data))
		var chunks []string
		for p := data; len(p) > 0; {
			n := min(step, len(p))
			chunks, p = append(chunks, string(p[:n])), p[n:]
		}
		got, timed := feed(t, set(t, pattern, len(data)+1), chunks...)
		if got != whole {
			t.Errorf("in chunks of %d: %q, whole: %q", step, got, whole)
		}
		if n := strings.Count(got, "\n"); timed != n || !utf8.ValidString(got) {
			t.Errorf("%d of %d lines have a time; %q", timed, n, got)
		}
		if stock {
			return // a long line may be cut within a sequence that is then one no more
		}
		cut, _ := feed(t, set(t, pattern, maxLine), chunks...)
		if strings.ReplaceAll(cut, "\n", "") != strings.ReplaceAll(whole, "\n", "") {
			t.Errorf("cut at %d something is lost: %q, want %q", maxLine, cut, whole)
		}
		for line := range strings.Lines(cut) {
			if utf8.RuneCountInString(line) > maxLine+1 {
				t.Errorf("%q is longer than %d", line, maxLine)
			}
		}
	})
}

func FuzzGlobPart(f *testing.F) {
	f.Add("a[!b-c]*?", "abcd")
	f.Add("[]]", "]")
	f.Add("[", "[")
	f.Add("[z-a]", "b")
	f.Fuzz(func(t *testing.T, part, name string) {
		re, err := nameRegexp(part)
		if err == nil {
			re.MatchString(name)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add("1 2 3 4 x")
	f.Fuzz(func(t *testing.T, text string) {
		path := t.TempDir() + "/r"
		put(t, path, []byte(text))
		if r, err := readRecord(path); err == nil && r.group <= 1 {
			t.Errorf("%q is the group %d", text, r.group)
		}
	})
}

func BenchmarkLines(b *testing.B) {
	line := strings.Repeat("x", 79) + "\n"
	for name, text := range map[string]string{"80-byte": strings.Repeat(line, 819), "yes": strings.Repeat("y\n", 32<<10)} {
		for _, pattern := range []string{wire.NoNewlines, wire.StockNewlines} {
			b.Run(name+"/"+map[bool]string{true: "stock", false: "raw"}[pattern == wire.StockNewlines], func(b *testing.B) {
				m := lineMaker{set: set(b, pattern, wire.MaxLine)}
				p := []byte(text)
				b.SetBytes(int64(len(p)))
				for b.Loop() {
					m.add(p, 1)
				}
			})
		}
	}
}
