package logfile

import (
	"hash/crc32"
	"io"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// block is one frame, decoded.
type block struct {
	first int64
	text  []byte
	lists
	buf []byte // memory of text, if it was compressed
}

// parse decodes the frame at the start of raw. The text refers to raw if it is not
// compressed.
func (b *block) parse(raw []byte, decompress func(src, dst []byte) ([]byte, error)) (header, error) {
	h, err := parseHeader(raw)
	if err != nil {
		return h, err
	}
	if h.size() > int64(len(raw)) || h.flags&flagZstd != 0 && decompress == nil {
		return h, errTorn
	}
	if err := h.parseLists(raw, &b.lists); err != nil {
		return h, err
	}
	b.first = h.first
	b.text, err = h.decode(raw, decompress, b.buf)
	if h.flags&flagZstd != 0 && err == nil {
		b.buf = b.text
	}
	return h, err
}

// check reports whether the text of the frame at off has its checksum.
func (h header) check(r io.ReaderAt, off int64) (bool, error) {
	sum := crc32.New(castagnoli)
	_, err := io.Copy(sum, io.NewSectionReader(r, off+headerSize+h.list, h.stored))
	return sum.Sum32() == h.textSum, err
}

// blocks is an LRU of decoded blocks, bounded in bytes.
type blocks struct {
	limit int64

	mu   sync.Mutex
	size int64
	lru  *simplelru.LRU[blockKey, *block]
}

// blockKey names a frame: the index it is in and where it is.
type blockKey struct {
	index uint64
	off   int64
}

func newBlocks(limit int64) *blocks {
	b := &blocks{limit: limit}
	b.lru, _ = simplelru.NewLRU(1<<20, func(_ blockKey, v *block) { b.size -= v.size() })
	return b
}

func (b *block) size() int64 {
	return int64(cap(b.text)+16*cap(b.runs)+16*cap(b.times)) + 200
}

// get returns a block that nobody may change, or nil.
func (b *blocks) get(k blockKey) *block {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, _ := b.lru.Get(k)
	return v
}

// add keeps a block, unless it is too big a part of the whole.
func (b *blocks) add(k blockKey, v *block) {
	size := v.size()
	if size > b.limit/4 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lru.Contains(k) {
		return
	}
	b.lru.Add(k, v)
	b.size += size
	for b.size > b.limit {
		b.lru.RemoveOldest()
	}
}
