package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"buildstar/state"
	"github.com/google/go-cmp/cmp"
)

func openBuild(t testing.TB, s *Store, build int64) *segment {
	t.Helper()
	g, err := s.OpenBuild(build)
	if err != nil {
		t.Fatal(err)
	}
	return g.(*segment)
}

func appendText(t testing.TB, g *segment, log int64, text string) {
	t.Helper()
	if err := g.Append(log, state.Resume{}, state.LogRun{Stream: 'o', Text: []byte(text)}); err != nil {
		t.Fatal(err)
	}
}

// read returns the whole text of a log.
func read(t testing.TB, s *Store, build, log int64) string {
	t.Helper()
	var b strings.Builder
	err := s.Lines(t.Context(), build, log, 0, -1, func(r state.LogRun) error {
		b.Write(r.Text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A file that ends anywhere in its last frames has the lines of the whole frames
// before; readers see those, and a writer goes on after them.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	g := openBuild(t, s, 1)
	texts := []string{"first\n", strings.Repeat("line of the second\n", 20), strings.Repeat("z", 100_000) + "\n", "fourth\n", "fifth\nsixth\n"}
	ends := []int64{0}
	for _, text := range texts {
		appendText(t, g, 7, text)
		ends = append(ends, g.index.end)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(s.path(1))
	if err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, Options{})
	defer s.Close()
	for size := range int64(len(whole)) + 1 {
		if err := os.WriteFile(s.path(1), whole[:size], 0o644); err != nil {
			t.Fatal(err)
		}
		var want string
		for i, text := range texts {
			if ends[i+1] <= size {
				want += text
			}
		}
		if got := read(t, s, 1, 7); got != want {
			t.Fatalf("cut at %d of %d: read %d bytes, want %d", size, len(whole), len(got), len(want))
		}
		if size%7 != 0 && size != int64(len(whole)) {
			continue // opening for writing is slower; every seventh is enough
		}
		g := openBuild(t, s, 1)
		appendText(t, g, 7, "again\n")
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		if got := read(t, s, 1, 7); got != want+"again\n" {
			t.Fatalf("cut at %d of %d and continued: read %d bytes, want %d", size, len(whole), len(got), len(want)+6)
		}
	}
}

// An append of several frames that a crash cut between two of them was no append: the
// update it belongs to will be sent again, whole.
func TestTornAppend(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	defer func() { s.Close() }()
	g := openBuild(t, s, 1)
	add := func(update int64, text string) (frames []int64) {
		t.Helper()
		before := g.index.end
		if err := g.Append(7, state.Resume{CommandID: "1-1", Update: update}, state.LogRun{Stream: 'o', Text: []byte(text)}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(s.path(1))
		if err != nil {
			t.Fatal(err)
		}
		for at := before; at < g.index.end; {
			h, err := parseHeader(data[at:])
			if err != nil {
				t.Fatal(err)
			}
			at += h.size()
			frames = append(frames, at)
		}
		return frames
	}
	add(1, "first\n")
	// A short line, long ones, a short one: raw frames and compressed ones.
	big := "short\n" + strings.Repeat(strings.Repeat("x", frameText)+"\n", 2) + strings.Repeat("y\n", frameText/4) + "end\n"
	frames := add(2, big)
	if len(frames) < 4 {
		t.Fatalf("the append has %d frames", len(frames))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(s.path(1))
	if err != nil {
		t.Fatal(err)
	}
	for i, end := range frames {
		if err := os.WriteFile(s.path(1), whole[:end], 0o644); err != nil {
			t.Fatal(err)
		}
		want, update := "first\n", int64(1)
		if i == len(frames)-1 {
			want, update = want+big, 2
		}
		s = openStore(t, dir, Options{})
		if got := read(t, s, 1, 7); got != want {
			t.Errorf("cut after frame %d: read %d bytes, want %d", i, len(got), len(want))
		}
		g = openBuild(t, s, 1)
		if n, _ := g.Resume("1-1"); n != update {
			t.Errorf("cut after frame %d: resumes after update %d, want %d", i, n, update)
		}
		for n := range packFrames { // so that closing packs
			text := strings.Repeat(fmt.Sprint("later ", n, "\n"), 700)
			appendText(t, g, 7, text)
			want += text
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		if got := read(t, s, 1, 7); got != want {
			t.Errorf("cut after frame %d and packed: read %d bytes, want %d", i, len(got), len(want))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, dir, Options{})
		if got := read(t, s, 1, 7); got != want {
			t.Errorf("cut after frame %d, packed and opened again: read %d bytes, want %d", i, len(got), len(want))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever byte of a segment changes, readers get the lines before it or an error,
// never others.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	defer s.Close()
	g := openBuild(t, s, 1)
	var want string
	for i := range 4 {
		text := fmt.Sprintf("line %d\n", i)
		if i == 2 {
			text = strings.Repeat(text, 15_000) // compressed
		}
		appendText(t, g, 7, text)
		want += text
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(s.path(1))
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x10
		if err := os.WriteFile(s.path(1), damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		s.closed.Purge()
		var got strings.Builder
		err := s.Lines(t.Context(), 1, 7, 0, -1, func(r state.LogRun) error {
			got.Write(r.Text)
			return nil
		})
		if !strings.HasPrefix(want, got.String()) || err == nil && got.Len() == len(want) {
			t.Fatalf("byte %d: read %d of %d bytes, err %v", i, got.Len(), len(want), err)
		}
	}
}

// A write that fails leaves the segment as it was; it can be tried again.
func TestWriteFails(t *testing.T) {
	room := int64(1 << 20)
	s := openStore(t, t.TempDir(), Options{write: func(f *os.File, b []byte, off int64) (int, error) {
		if over := off + int64(len(b)) - room; over > 0 {
			n, err := f.WriteAt(b[:max(int64(len(b))-over, 0)], off)
			return n, errors.Join(err, syscall.ENOSPC)
		}
		return f.WriteAt(b, off)
	}})
	defer s.Close()
	g := openBuild(t, s, 1)
	text := make([]byte, 0, 1<<20)
	for i := 0; len(text) < 700_000; i++ {
		text = fmt.Appendf(text, "%x\n", i*2654435761)
	}
	var want string
	for _, size := range []int64{300, 1000, 3000, 200_000, 400_000} {
		room = size
		err := g.Append(7, state.Resume{CommandID: "1-1", Update: size}, state.LogRun{Stream: 'o', Text: text})
		if !errors.Is(err, state.ErrFull) {
			t.Fatalf("with room for %d: %v, want ErrFull", size, err)
		}
		if info, err := g.file.Stat(); err != nil || info.Size() != g.index.end {
			t.Errorf("the file has %d bytes, want %d", info.Size(), g.index.end)
		}
		if got := read(t, s, 1, 7); got != want {
			t.Errorf("read %d bytes, want %d", len(got), len(want))
		}
		if _, ok := g.Resume("1-1"); ok {
			t.Error("the failed append can be resumed from")
		}
		room += 200
		if size < 1000 {
			appendText(t, g, 7, "small\n")
			want += "small\n"
		}
	}
	room = 1 << 30
	if err := g.Append(7, state.Resume{CommandID: "1-1", Update: 5}, state.LogRun{Stream: 'o', Text: text}); err != nil {
		t.Fatal(err)
	}
	want += string(text)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, 1, 7); got != want {
		t.Errorf("read %d bytes, want %d", len(got), len(want))
	}
}

// Closing packs many small frames: the file shrinks, the lines stay, the file that
// readers hold stays readable.
func TestPack(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	defer s.Close()
	g := openBuild(t, s, 1)
	var want [2]string
	for i := range 4000 {
		text := fmt.Sprintf("compiling file number %d of the project\n", i)
		if i == 2000 {
			text = strings.Repeat("y\n", 200_000) // already in big frames
		}
		if err := g.Append(int64(i%2), state.Resume{CommandID: fmt.Sprintf("1-%d", i%2), Update: int64(i)}, state.LogRun{Stream: "oe"[i%3%2], Text: []byte(text)}); err != nil {
			t.Fatal(err)
		}
		want[i%2] += text
	}
	before := g.index.end
	held, ok := g.view(1)
	if !ok {
		t.Fatal("no view of an open segment")
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if after := g.index.end; after > before/5 {
		t.Errorf("packed from %d to %d bytes", before, after)
	}
	for _, purge := range []bool{false, true} {
		if purge {
			s.closed.Purge() // what was packed can be read from the file alone
		}
		for log := range want {
			if got := read(t, s, 1, int64(log)); got != want[log] {
				t.Errorf("log %d: read %d bytes, want %d", log, len(got), len(want[log]))
			}
		}
	}
	var old strings.Builder
	r := lineReader{store: s, view: held, to: 2000, fn: func(r state.LogRun) error { old.Write(r.Text); return nil }}
	for _, e := range append(held.finished, held.tail) {
		if err := r.extent(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := held.file.release(); err != nil || old.String() != want[1] {
		t.Errorf("the reader that was there before read %d bytes, want %d; %v", old.Len(), len(want[1]), err)
	}
	g = openBuild(t, s, 1)
	for i := range int64(2) {
		if u, ok := g.Resume(fmt.Sprintf("1-%d", i)); !ok || u != 3998+i {
			t.Errorf("Resume of command %d = %d, %v", i, u, ok)
		}
	}
}

// What a killed pack leaves behind does no harm and goes away.
func TestPackLeftover(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	defer s.Close()
	g := openBuild(t, s, 1)
	appendText(t, g, 7, "a\n")
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path(1)+packing, []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, 1, 7); got != "a\n" {
		t.Errorf("read %q", got)
	}
	openBuild(t, s, 1)
	if _, err := os.Stat(s.path(1) + packing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover is still there: %v", err)
	}
}

// The extents of many small appends are few.
func TestExtents(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	defer s.Close()
	g := openBuild(t, s, 1)
	for range 10_000 {
		appendText(t, g, 7, "one line\n")
	}
	finished, _ := g.index.view(7)
	if n := len(finished); n > 12 {
		t.Errorf("%d extents", n)
	}
	x, err := scan(g.file, g.index.end, every)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := x.view(7)
	if diff := cmp.Diff(finished, again, cmp.AllowUnexported(extent{})); diff != "" {
		t.Error(diff)
	}
}

// Any bytes can be a segment: nothing crashes, and what is found can be read.
func FuzzSegment(f *testing.F) {
	s := openStore(f, f.TempDir(), Options{})
	f.Cleanup(func() { s.Close() })
	g := openBuild(f, s, 1)
	appendText(f, g, 7, "a\nb\n")
	appendText(f, g, 8, strings.Repeat("compressed\n", 10_000))
	if err := g.Append(7, state.Resume{CommandID: "1-1", Update: 3}, state.LogRun{Stream: 'e', Text: []byte("c\n"), Times: []state.Time{5}}); err != nil {
		f.Fatal(err)
	}
	if err := g.Close(); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(s.path(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:headerSize+10])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		// Checksums would hide the rest of the parser: they are put right.
		fixSums(data)
		x, err := scan(bytes.NewReader(data), int64(len(data)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(2), data, 0o644); err != nil {
			t.Fatal(err)
		}
		for log := range x.logs {
			n := int64(0)
			err := s.Lines(t.Context(), 2, log, 0, -1, func(r state.LogRun) error {
				if r.First != n {
					t.Fatalf("line %d after %d", r.First, n)
				}
				n += int64(bytes.Count(r.Text, lf))
				return nil
			})
			if lines, lerr := s.NumLines(2, log); err == nil && (n != lines || lerr != nil) {
				t.Errorf("log %d: read %d lines of %d, %v", log, n, lines, lerr)
			}
		}
	})
}

func fixSums(data []byte) {
	for at := 0; at < len(data); {
		h, err := parseHeader(data[at:])
		if err != nil || h.size() > int64(len(data)-at) {
			return
		}
		b := data[at : at+int(h.size())]
		putSums(b, h)
		at += len(b)
	}
}

// Closing the store while a build still writes ends its appends, and loses none that
// was acknowledged.
func TestCloseWhileWriting(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	g := openBuild(t, s, 1)
	started, over := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for g.Append(7, state.Resume{}, state.LogRun{Stream: 'o', Text: []byte("line\n")}) == nil {
			if n++; n == 1 {
				close(started)
			}
		}
		_ = g.Close()
		over <- n
	}()
	<-started
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	n := <-over
	s = openStore(t, dir, Options{})
	defer s.Close()
	if got := strings.Count(read(t, s, 1, 7), "\n"); got != n {
		t.Errorf("%d lines, %d were acknowledged", got, n)
	}
}
