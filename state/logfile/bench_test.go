package logfile

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"

	"buildstar/state"
)

// cpu reports the processor time of this process per operation: on a busy machine the
// time on the clock says little.
func cpu(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N)/1000, "cpu-us/op") }
}

// realText is like what compilers and tests print, about 80 bytes a line.
func realText(size int) []byte {
	var b []byte
	for i := 0; len(b) < size; i++ {
		b = fmt.Appendf(b, "[%3d%%] Building CXX object src/CMakeFiles/core.dir/module_%x/part%d.cpp.o (%d ms)\n", i%100, i*2654435761%65536, i, i*7919%997)
	}
	return b[:bytes.LastIndexByte(b, '\n')+1]
}

func benchAppend(b *testing.B, text []byte) {
	s := openStore(b, b.TempDir(), Options{})
	defer s.Close()
	run := state.LogRun{Stream: 'o', Text: text, Times: []state.Time{1}}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	defer cpu(b)()
	var g *segment
	i := int64(0)
	for b.Loop() {
		if i%1000 == 0 {
			if g != nil {
				if err := g.Close(); err != nil {
					b.Fatal(err)
				}
				if err := s.Delete(i/1000 - 1); err != nil {
					b.Fatal(err)
				}
			}
			g = openBuild(b, s, i/1000)
		}
		if err := g.Append(1, state.Resume{CommandID: "1-1", Update: i}, run); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkAppendLines256K(b *testing.B) { benchAppend(b, realText(256<<10)) }
func BenchmarkAppendLines4K(b *testing.B)   { benchAppend(b, realText(4<<10)) }
func BenchmarkAppendYes256K(b *testing.B)   { benchAppend(b, bytes.Repeat([]byte("y\n"), 128<<10)) }

// benchLog returns a store with a log of size bytes in appends of part bytes.
func benchLog(b *testing.B, size, part int, pack bool) (*Store, int64) {
	s := openStore(b, b.TempDir(), Options{})
	b.Cleanup(func() { s.Close() })
	g := openBuild(b, s, 1)
	text := realText(part)
	for n := 0; n < size; n += len(text) {
		appendText(b, g, 1, string(text))
	}
	if pack {
		if err := g.Close(); err != nil {
			b.Fatal(err)
		}
	}
	n, err := s.NumLines(1, 1)
	if err != nil {
		b.Fatal(err)
	}
	return s, n
}

func benchRead(b *testing.B, s *Store, from, limit int64) {
	bytes := int64(0)
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		bytes = 0
		err := s.Lines(b.Context(), 1, 1, from, limit, func(r state.LogRun) error {
			bytes += int64(len(r.Text))
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(bytes)
}

// The last 40 lines, as a page that follows a log asks for them.
func BenchmarkTailOpen(b *testing.B) {
	s, n := benchLog(b, 8<<20, 1<<10, false)
	benchRead(b, s, n-40, 40)
}

func BenchmarkTailClosed(b *testing.B) {
	s, n := benchLog(b, 8<<20, 256<<10, true)
	benchRead(b, s, n-40, 40)
}

func BenchmarkReadWhole(b *testing.B) {
	s, _ := benchLog(b, 64<<20, 256<<10, true)
	benchRead(b, s, 0, -1)
}

// What one small build costs: open, a few appends, close.
func BenchmarkSmallBuild(b *testing.B) {
	s := openStore(b, b.TempDir(), Options{})
	defer s.Close()
	text := string(realText(1000))
	defer cpu(b)()
	i := int64(0)
	for b.Loop() {
		g := openBuild(b, s, i)
		appendText(b, g, 1, text)
		appendText(b, g, 1, "done\n")
		if err := g.Close(); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
