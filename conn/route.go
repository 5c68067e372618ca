package conn

import (
	"bytes"
	"fmt"

	"buildstar/conn/wire"
)

// maxResult is the longest result of our own requests: get_worker_info's.
const maxResult = 4 << 20

// handle routes one message of the worker. An error ends the session: the bytes were
// no message, or an answer to what was never asked. Everything else that is wrong is
// answered with an exception.
//
//go:noinline
func (s *session) handle(frame []byte) error {
	var m wire.Message // not kept in the session: most are idle
	if err := m.Parse(frame); err != nil {
		return err
	}
	if m.Op == wire.OpResponse {
		return s.answered(&m)
	}
	if m.Op == wire.OpLeave {
		s.mu.Lock()
		s.leaves = true
		s.news()
		s.mu.Unlock()
		s.respond(m.Seq)
		return nil
	}
	it, err := read(&m, len(frame))
	if err != nil {
		s.except(m.Seq, err.Error())
		return nil
	}
	c := s.command(m.CommandID)
	if c == nil {
		s.except(m.Seq, fmt.Sprintf("unknown \"command_id\": %q", cut(m.CommandID, 100)))
		return nil
	}
	if m.Op == wire.OpComplete {
		s.unregister(c)
	}
	c.offer(it)
	return nil
}

// answered gives a response to who asked. One that comes after its asker gave up is
// ignored.
func (s *session) answered(m *wire.Message) error {
	s.mu.Lock()
	asked := m.Seq < s.next
	waiting := s.pending[m.Seq]
	s.settled(m.Seq)
	s.mu.Unlock()
	if !asked {
		return fmt.Errorf("a response to request %d, which was never made", m.Seq)
	}
	if waiting == nil {
		return nil
	}
	a := answer{}
	switch size := m.Size(wire.KeyResult); {
	case m.Exception:
		text, err := m.Text(wire.KeyResult)
		if err != nil {
			text = "the worker reported an error without a text"
		}
		a.err = &RemoteError{Text: text}
	case size > maxResult:
		a.err = &RemoteError{Text: fmt.Sprintf("an answer of %d bytes is too long", size)}
	case size > 0:
		a.result = bytes.Clone(m.Raw(wire.KeyResult))
	}
	waiting <- a // has room for one
	return nil
}

// item is a request of the worker that belongs to a command.
type item struct {
	op                 string
	seq                int64
	cost               int // bytes of memory, about
	entries            []wire.Entry
	data               []byte  // of an upload
	length             int64   // that a download asks for
	stamped            bool    // the times are there
	accessed, modified float64 // of an upload
	failed             bool    // complete brought a text
	text               string
}

const itemCost = 256

// read takes a request's arguments out of the frame. Its error is for the worker.
func read(m *wire.Message, size int) (*item, error) {
	it := &item{op: m.Op, seq: m.Seq, cost: itemCost}
	if m.CommandID == "" {
		switch m.Op {
		case wire.OpUpdate, wire.OpComplete, wire.OpUploadFileWrite, wire.OpUploadFileClose, wire.OpUploadFileUtime,
			wire.OpUploadDirectoryWrite, wire.OpUploadDirectoryDone, wire.OpReadFile, wire.OpReadFileClose:
			return it, &wire.MissingKey{Key: wire.KeyCommandID}
		}
	}
	switch m.Op {
	case wire.OpUpdate:
		if m.Bad != nil {
			return it, m.Bad
		}
		it.entries = wire.CloneEntries(m.Entries)
		it.cost += entriesCost(it.entries, size)
	case wire.OpComplete:
		v, err := m.Value(wire.KeyArgs)
		if err != nil {
			return it, err
		}
		if v != nil {
			it.failed = true
			it.text, _ = v.(string)
		}
	case wire.OpUploadFileWrite, wire.OpUploadDirectoryWrite:
		data, err := m.Bytes(wire.KeyArgs)
		if err != nil {
			return it, err
		}
		it.data = bytes.Clone(data)
		it.cost += len(data)
	case wire.OpUploadFileUtime:
		accessed, err := m.Value(wire.KeyAccessTime)
		if err != nil {
			return it, err
		}
		modified, err := m.Value(wire.KeyModifiedTime)
		if err != nil {
			return it, err
		}
		var ok1, ok2 bool
		it.accessed, ok1 = number(accessed)
		it.modified, ok2 = number(modified)
		it.stamped = ok1 && ok2 // nil means that the worker does not know
	case wire.OpReadFile:
		n, err := m.Int(wire.KeyLength)
		if err != nil {
			return it, err
		}
		if n <= 0 {
			return it, fmt.Errorf("a length of %d cannot be read", n)
		}
		it.length = n
	case wire.OpUploadFileClose, wire.OpUploadDirectoryDone, wire.OpReadFileClose:
	default:
		return it, unknownOp(cut(m.Op, 100))
	}
	return it, nil
}

// unknownOp is the error about an op that does not exist, in the words that both sides
// of the protocol use (docs/protocol.md A.2).
type unknownOp string

func (op unknownOp) Error() string { return "Command " + string(op) + " does not exist." }

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	}
	return 0, false
}

// entriesCost is about how much memory entries take; size is that of their frame.
func entriesCost(entries []wire.Entry, size int) int {
	cost := 0
	for i := range entries {
		e := &entries[i]
		cost += 128 + len(e.Text) + 16*len(e.Times)
		switch e.Value.(type) {
		case []any, map[string]any, string, []byte:
			return cost + 8*size
		}
	}
	return cost
}
