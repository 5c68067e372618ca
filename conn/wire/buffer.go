package wire

import "sync"

// maxPooled is the biggest buffer that is kept for the next message.
const maxPooled = 1 << 20

var buffers = sync.Pool{New: func() any { return new(Buffer) }}

// A Buffer is memory for one message, lent by GetBuffer. Append to B[:0].
type Buffer struct{ B []byte }

// GetBuffer lends a buffer whose B is empty. Give it back with Free, or leave it to
// the collector.
func GetBuffer() *Buffer {
	b := buffers.Get().(*Buffer)
	b.B = b.B[:0]
	return b
}

// Free gives the buffer back; nothing may refer to B any more.
func (b *Buffer) Free() {
	if cap(b.B) <= maxPooled {
		buffers.Put(b)
	}
}
