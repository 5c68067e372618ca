// Package logfile keeps the text of logs in one append-only segment file per build,
// logs/<id/1000>/<id>.log, and is the master's state.LogStore.
//
// A segment is a sequence of frames, each with whole lines of one log and the number
// of the update they came with (see frame.go). A frame is written by one write(2)
// and its header carries checksums, so that whatever a crash leaves is a sequence of
// good frames and at most one torn one at the end, which is cut off. Small appends
// are written as they are, at once; big ones are compressed with zstd. When a build
// ends, its small frames are packed into big ones.
//
// Where the lines are is known from an index in memory, kept up to date for open
// segments and read from the frame headers for closed ones. Readers take the part
// of the index they need and then read the file without any lock, so that they
// neither see half a frame nor hold up the build that is writing.
package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"buildstar/state"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/klauspost/compress/zstd"
)

// Options are the ways a Store may differ. The zero Options are good.
type Options struct {
	// CacheBytes bounds the decompressed text that is kept for readers. 0: 16 MiB.
	CacheBytes int64
	// Indexes is how many closed segments' indexes are kept. 0: 256.
	Indexes int
	// Log gets what has no caller to go to. nil: slog.Default().
	Log *slog.Logger

	// write is what writes frames; tests make it fail.
	write func(f *os.File, b []byte, off int64) (int, error)
}

// Store is a state.LogStore in a directory.
type Store struct {
	dir    string
	log    *slog.Logger
	write  func(f *os.File, b []byte, off int64) (int, error)
	enc    *zstd.Encoder
	dec    *zstd.Decoder
	closed *lru.Cache[int64, closedIndex]
	cache  *blocks

	buffers sync.Pool // of *[maxExtent]byte, for readers

	mu     sync.Mutex
	open   map[int64]*segment
	synced string // the newest directory of segments that is durable
	done   bool
}

// Open returns the store in a directory, which is created.
func Open(dir string, o Options) (*Store, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = 16 << 20
	}
	if o.Indexes == 0 {
		o.Indexes = 256
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.write == nil {
		o.write = func(f *os.File, b []byte, off int64) (int, error) { return f.WriteAt(b, off) }
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open logs: %w", full(err))
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithWindowSize(frameText))
	if err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxText), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderConcurrency(0))
	if err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	closed, err := lru.New[int64, closedIndex](o.Indexes)
	if err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	return &Store{
		dir: dir, log: o.Log, write: o.write, enc: enc, dec: dec, closed: closed,
		cache: newBlocks(o.CacheBytes), open: make(map[int64]*segment),
		buffers: sync.Pool{New: func() any { return new([maxExtent]byte) }},
	}, nil
}

func (s *Store) path(buildID int64) string {
	return filepath.Join(s.dir, strconv.FormatInt(buildID/1000, 10), strconv.FormatInt(buildID, 10)+".log")
}

// OpenBuild implements state.LogStore.
func (s *Store) OpenBuild(buildID int64) (state.LogSegment, error) {
	return s.openBuild(buildID, every)
}

func every(int64) bool { return true }

// ReopenBuild implements state.LogStore.
func (s *Store) ReopenBuild(buildID int64, logIDs []int64) (state.LogSegment, error) {
	return s.openBuild(buildID, func(id int64) bool { return slices.Contains(logIDs, id) })
}

// openBuild opens a segment up to the first frame of a log that is not known.
func (s *Store) openBuild(buildID int64, known func(logID int64) bool) (state.LogSegment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil, state.ErrClosed
	}
	if s.open[buildID] != nil {
		return nil, fmt.Errorf("open log of build %d: it has a writer already", buildID)
	}
	g, err := s.openSegment(buildID, known)
	if err != nil {
		return nil, fmt.Errorf("open log of build %d: %w", buildID, full(err))
	}
	s.open[buildID] = g
	return g, nil
}

func (s *Store) openSegment(buildID int64, known func(logID int64) bool) (*segment, error) {
	path := s.path(buildID)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(path + packing); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	x, err := s.recover(f, known)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &segment{store: s, build: buildID, path: path, file: newHandle(f), index: x}, nil
}

// recover returns the index of a file after cutting off what is not a whole frame of a
// known log.
func (s *Store) recover(f *os.File, known func(logID int64) bool) (*index, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	x, err := scan(f, info.Size(), known)
	if err != nil {
		return nil, err
	}
	if x.end < info.Size() {
		s.log.Warn("log segment had a torn end; cut off", "file", f.Name(), "bytes", info.Size()-x.end)
		return x, f.Truncate(x.end)
	}
	return x, nil
}

// syncDir makes the creation of a segment durable, and that of its directory, which a
// thousand builds share.
func (s *Store) syncDir(dir string) error {
	if err := fsync(dir); err != nil {
		return err
	}
	s.mu.Lock()
	known := s.synced == dir
	s.mu.Unlock()
	if known {
		return nil
	}
	err := fsync(filepath.Dir(dir))
	if err == nil {
		s.mu.Lock()
		s.synced = dir
		s.mu.Unlock()
	}
	return err
}

func fsync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Delete implements state.LogStore.
func (s *Store) Delete(buildID int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[buildID] != nil {
		return fmt.Errorf("delete log of build %d: the build still writes it", buildID)
	}
	s.closed.Remove(buildID)
	for _, path := range []string{s.path(buildID), s.path(buildID) + packing} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete log of build %d: %w", buildID, err)
		}
	}
	return nil
}

// Close closes the segments that are still open, without packing them.
func (s *Store) Close() error {
	s.mu.Lock()
	s.done = true
	var open []*segment
	for _, g := range s.open {
		open = append(open, g)
	}
	s.mu.Unlock()
	var errs []error
	for _, g := range open {
		errs = append(errs, g.end(false))
	}
	s.dec.Close()
	return errors.Join(append(errs, s.enc.Close())...)
}

// full wraps the errors of a full disk in state.ErrFull.
func full(err error) error {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", state.ErrFull, err)
		}
	}
	return err
}
