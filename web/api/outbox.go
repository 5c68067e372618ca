package api

import (
	"strings"
	"sync"
	"time"

	"buildstar/state"
)

const (
	maxFrames     = 2000
	maxFrameBytes = 4 << 20
	keyInterval   = 100 * time.Millisecond // at most 10 updates a second of one row

	closeGoingAway = 1001
	closeTryLater  = 1013
)

// frame is one message to a client. The row's JSON is shared between sockets.
type frame struct {
	key  string // of an event
	json []byte // the row of an event, or a whole control message
	seq  uint64 // 0: control
	path string // of the row that the event is about
	full bool   // carries the whole row, so that a newer one replaces it
}

func newFrame(e *event, key string) frame {
	own := e.keys[0]
	cut := strings.LastIndexByte(own, '/')
	verb := own[cut+1:]
	f := frame{key: key, json: e.json, seq: e.seq, path: own[:max(cut, 0)]}
	if _, part := e.row.(state.Properties); !part { // these are only what changed
		f.full = verb == "append" || verb == "update" || verb == "updated" || verb == "state_updated"
	}
	return f
}

// outbox is the bounded queue of one socket. Whoever pushes never waits. Updates of
// the same row replace each other while they wait, and come at most ten times a
// second, so a slow client or a chatty log costs little (docs/ui-contract.md section 4).
type outbox struct {
	ours bool // the client understands resync
	wake chan struct{}

	mu      sync.Mutex
	frames  []frame
	bytes   int
	waiting map[string]uint64    // seq of the update of a row that waits, by path
	sentAt  map[string]time.Time // when an update of a row was last sent, by path
	newest  uint64               // seq of the newest event sent or skipped
	code    int                  // close code; 0: open
	reason  string
}

func newOutbox(ours bool) *outbox {
	return &outbox{ours: ours, wake: make(chan struct{}, 1), waiting: map[string]uint64{}, sentAt: map[string]time.Time{}}
}

func (o *outbox) rouse() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// push queues an event.
func (o *outbox) push(f frame) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.rouse()
	if seq, ok := o.waiting[f.path]; ok {
		o.drop(seq)
		delete(o.waiting, f.path)
	}
	if f.full {
		o.waiting[f.path] = f.seq
	}
	o.frames = append(o.frames, f)
	o.bytes += len(f.json)
	if len(o.frames) > maxFrames || o.bytes > maxFrameBytes {
		o.overflowLocked()
	}
}

// drop removes a waiting event.
func (o *outbox) drop(seq uint64) {
	for i := range o.frames {
		if o.frames[i].seq == seq {
			o.remove(i)
			return
		}
	}
}

func (o *outbox) remove(i int) {
	o.bytes -= len(o.frames[i].json)
	o.frames = append(o.frames[:i], o.frames[i+1:]...)
}

// control queues an acknowledgement or another message that is no event.
func (o *outbox) control(json []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.rouse()
	o.frames = append(o.frames, frame{json: json})
	o.bytes += len(json)
	if len(o.frames) > maxFrames || o.bytes > maxFrameBytes {
		o.endLocked(closeTryLater, "too many requests at once")
	}
}

// greet queues the first frame; at is the position of the newest event there is.
func (o *outbox) greet(hello []byte, at uint64) {
	o.control(hello)
	o.mu.Lock()
	o.newest = at
	o.mu.Unlock()
}

// overflow gives up on the events that wait: our own clients are told to read state
// again, others are disconnected.
func (o *outbox) overflow() {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.rouse()
	o.overflowLocked()
}

func (o *outbox) overflowLocked() {
	if !o.ours {
		o.endLocked(closeTryLater, "too slow: connect again and read state again")
		return
	}
	kept := o.frames[:0:0]
	o.bytes = 0
	for _, f := range o.frames {
		if f.seq != 0 {
			o.newest = max(o.newest, f.seq)
		} else if len(f.json) > 0 && &f.json[0] != &resyncFrame[0] {
			kept = append(kept, f)
			o.bytes += len(f.json)
		}
	}
	o.frames = append(kept, frame{json: resyncFrame})
	o.bytes += len(resyncFrame)
	clear(o.waiting)
}

// end closes the socket once its writer sees it; what waits is not sent.
func (o *outbox) end(code int, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.rouse()
	o.endLocked(code, reason)
}

func (o *outbox) endLocked(code int, reason string) {
	if o.code == 0 {
		o.code, o.reason = code, reason
	}
	o.frames, o.bytes = nil, 0
}

// next returns the next frame to send and the position that is safe to resume from
// once it was sent. Without one, wait says when there will be, 0 if only another
// push can tell. code is not 0 when the socket must be closed.
func (o *outbox) next(now time.Time) (f frame, safe uint64, ok bool, wait time.Duration, code int, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.code != 0 {
		return f, 0, false, 0, o.code, o.reason
	}
	for i := range o.frames {
		f = o.frames[i]
		if f.full {
			if due := o.sentAt[f.path].Add(keyInterval); now.Before(due) {
				if wait == 0 || due.Sub(now) < wait {
					wait = due.Sub(now)
				}
				continue
			}
			o.markSent(f.path, now)
			delete(o.waiting, f.path)
		}
		o.remove(i)
		o.newest = max(o.newest, f.seq)
		return f, o.safe(), true, 0, 0, ""
	}
	return frame{}, 0, false, wait, 0, ""
}

// safe is the position before the oldest event that still waits.
func (o *outbox) safe() uint64 {
	s := o.newest
	for i := range o.frames {
		if q := o.frames[i].seq; q != 0 && q-1 < s {
			s = q - 1
		}
	}
	return s
}

func (o *outbox) markSent(path string, now time.Time) {
	if len(o.sentAt) >= maxFrames {
		for p, t := range o.sentAt {
			if now.Sub(t) >= keyInterval {
				delete(o.sentAt, p)
			}
		}
	}
	o.sentAt[path] = now
}

// idle reports whether nothing waits.
func (o *outbox) idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.frames) == 0
}
