package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"buildstar/conn/wire"
)

const (
	// maxKeptBytes is how much of a command's output is kept for a master that may be
	// away: at this bound its pipes are no longer read, and nothing is dropped.
	maxKeptBytes = 256 << 20
	// keptInMemory is how much of that needs no file.
	keptInMemory = 64 << 10
	// spillSize is the size of one such file. They have no names, so that none is left
	// behind by a worker that is killed: its commands do not outlive it.
	spillSize = 16 << 20
	// pieceCost is what a message counts for beside its bytes.
	pieceCost = 64
)

// outbox is what a command has said, update by update and complete last, from when it
// was said until the master does not need it any more: until it was sent, if the master
// gave no token with the command, and else until the master has acknowledged it, because
// it may ask for it again in a later session (docs/protocol.md F). Its methods are safe
// for concurrent use.
type outbox struct {
	id    string
	token []byte // nil: what was sent is forgotten
	dir   string
	bound int64
	log   *slog.Logger
	gone  func() // called once, before the master can use the id again

	told    chan struct{} // closed once complete was sent, or nobody will take it
	space   chan struct{} // holds one: full may say something else
	changed chan struct{} // holds one: for deliver

	mu       sync.Mutex
	to       *session // nil: nobody is there
	first    int64    // number of pieces[0], from 1
	next     int64    // number of the next one to send
	pieces   []piece
	size     int64 // of all pieces
	memory   int64 // of those in memory
	spill    *spill
	complete bool // the last message is the end
	closed   bool // nothing is wanted any more
	broken   bool // no file could be written: what is sent is forgotten
	free     sync.Once
	tell     sync.Once
}

// piece is one message, without its seq_number.
type piece struct {
	text []byte // nil: it is in the file
	in   *spill
	at   int64
	size int64
}

// spill is a file of pieces.
type spill struct {
	*os.File
	end    int64
	pieces int // that are still needed
}

func newOutbox(s *session, id string, token []byte, gone func()) *outbox {
	return &outbox{
		id: id, token: token, dir: s.cfg.Basedir, bound: s.cfg.keep, log: s.log, gone: gone, to: s, first: 1, next: 1,
		told: make(chan struct{}), space: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add puts in a message that was made with seq_number 0.
func (o *outbox) add(request []byte, complete bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.complete = o.complete || complete
	if o.closed {
		if complete {
			o.free.Do(o.gone)
		}
		return
	}
	text := wire.Unnumbered(request)
	r := piece{size: int64(len(text))}
	if o.token == nil || o.broken || o.memory+r.size <= keptInMemory || !o.write(&r, text) {
		r.text = append([]byte(nil), text...)
		o.memory += r.size
	}
	o.pieces = append(o.pieces, r)
	o.size += r.size + pieceCost
	wake(o.changed)
}

// abort says that nothing will be added any more, not even complete.
func (o *outbox) abort() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.complete = true
	if o.closed {
		o.free.Do(o.gone)
	}
}

// write puts a message into a file. If that fails the command goes on, without what lets
// it outlive the connection.
func (o *outbox) write(r *piece, text []byte) bool {
	err := o.makeRoom(r.size)
	if err == nil {
		_, err = o.spill.WriteAt(text, o.spill.end)
	}
	if err != nil {
		o.log.Warn("the output of a command cannot be kept; the command will not outlive the connection", "command", o.id, "err", err)
		o.broken = true
		return false
	}
	r.in, r.at = o.spill, o.spill.end
	o.spill.end += r.size
	o.spill.pieces++
	return true
}

// makeRoom starts another file if the one in use is full.
func (o *outbox) makeRoom(size int64) error {
	if o.spill != nil && (o.spill.end == 0 || o.spill.end+size <= spillSize) {
		return nil
	}
	f, err := os.CreateTemp(o.dir, ".output-")
	if err != nil {
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(err, f.Close())
	}
	if o.spill != nil && o.spill.pieces == 0 {
		o.spill.Close()
	}
	o.spill = &spill{File: f}
	return nil
}

// full reports whether the command must say nothing more for now.
func (o *outbox) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return false
	case o.token == nil || o.broken:
		return o.next <= o.last()
	}
	return o.size >= o.bound
}

// waitRoom returns when the outbox is not full.
func (o *outbox) waitRoom() {
	for o.full() {
		<-o.space
	}
}

// last is the number of the newest record.
func (o *outbox) last() int64 { return o.first + int64(len(o.pieces)) - 1 }

// deliver sends what there is, whenever somebody is there to take it, until nothing is
// wanted any more.
func (o *outbox) deliver() {
	for {
		message, number, to, err := o.pick()
		switch {
		case err != nil:
			o.log.Error("the output of a command was lost", "command", o.id, "err", err)
			o.close()
		case message != nil:
			select {
			case to.updates <- message:
				o.sent(to, number)
			case <-to.dead:
				message.Free()
				o.lose(to)
			}
		case o.isClosed():
			return
		default:
			<-o.changed
		}
	}
}

// pick returns the next message to send and where to; none if there is none.
func (o *outbox) pick() (message *wire.Buffer, number int64, to *session, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.to == nil || o.next > o.last() {
		return nil, 0, nil, nil
	}
	r := o.pieces[o.next-o.first]
	text := r.text
	if text == nil {
		b := wire.GetBuffer()
		defer b.Free()
		if int64(cap(b.B)) < r.size {
			b.B = make([]byte, r.size)
		}
		text = b.B[:r.size]
		if _, err := r.in.ReadAt(text, r.at); err != nil {
			return nil, 0, o.to, fmt.Errorf("read it again: %w", err)
		}
	}
	message = wire.GetBuffer()
	message.B = wire.Numbered(message.B, text, o.to.nextSeq())
	if o.complete && o.next == o.last() && !o.keeps() {
		o.free.Do(o.gone)
	}
	return message, o.next, o.to, nil
}

// keeps reports whether what was sent is kept.
func (o *outbox) keeps() bool { return o.token != nil && !o.broken }

// sent notes that a session took a message.
func (o *outbox) sent(to *session, number int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.to != to || number != o.next {
		return // it was asked for again meanwhile
	}
	o.next++
	if !o.keeps() {
		o.trim(number)
	}
	if o.complete && o.next > o.last() {
		o.tell.Do(func() { close(o.told) })
		if !o.keeps() {
			o.shut()
		}
	}
	wake(o.space)
}

func (o *outbox) isClosed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

// lose notes that a session is gone.
func (o *outbox) lose(to *session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.to != to {
		return
	}
	o.to = nil
	if !o.keeps() {
		o.shut()
	}
}

// resume sends everything from an update on to a session, again if need be.
func (o *outbox) resume(to *session, from int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || from < o.first || from > o.last()+1 {
		return fmt.Errorf("update %d of command %s is not kept", from, o.id)
	}
	o.to, o.next = to, from
	wake(o.changed)
	return nil
}

// acknowledge forgets the updates up to one.
func (o *outbox) acknowledge(through int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trim(min(through, o.next-1))
	wake(o.space)
}

func (o *outbox) trim(through int64) {
	n := max(0, min(through, o.last())-o.first+1)
	for i := range o.pieces[:n] {
		r := &o.pieces[i]
		o.size -= r.size + pieceCost
		if r.in == nil {
			o.memory -= r.size
		} else {
			r.in.release(r.in != o.spill)
		}
		*r = piece{}
	}
	o.pieces = o.pieces[n:]
	o.first += n
	if len(o.pieces) == 0 {
		o.pieces = nil
	}
}

// release says that one message is no longer needed. The file of the newest pieces stays
// open.
func (s *spill) release(old bool) {
	if s.pieces--; s.pieces == 0 && old {
		s.Close()
	}
}

// range of what is kept: the first update, and the one that comes next.
func (o *outbox) kept() (first, next int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.first, o.last() + 1
}

// session returns where messages go now, or nil.
func (o *outbox) session() *session {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.to
}

// close forgets everything: nobody will ask for it.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shut()
}

func (o *outbox) shut() {
	if o.closed {
		return
	}
	o.closed = true
	o.trim(o.last())
	if o.spill != nil {
		o.spill.Close()
		o.spill = nil
	}
	if o.complete { // else its id is used as long as it runs
		o.free.Do(o.gone)
	}
	o.tell.Do(func() { close(o.told) })
	wake(o.space)
	wake(o.changed)
}
