package wire

import (
	"fmt"

	"github.com/tinylib/msgp/msgp"
)

// maxFields is how many keys an envelope may have.
const maxFields = 64

// A Message is one message, taken apart only as far as it must be to know where it
// goes. It refers to the bytes it was parsed from. The zero Message is ready for
// Parse, and may be used again.
type Message struct {
	Op  string
	Seq int64
	// Exception says that a response reports an error; its "result" is the text.
	Exception bool
	// CommandID is empty if the message has none, or one that is not text.
	CommandID string
	// Entries are what an update says. Their Text refers to the frame; see
	// CloneEntries.
	Entries []Entry
	// Bad says what is wrong inside a message whose envelope is sound: its sender
	// should be told, and need not be cut off.
	Bad error

	fields []field
}

type field struct {
	key string
	raw []byte
}

// MissingKey is the error about a message without an obligatory key.
type MissingKey struct{ Key string }

func (e *MissingKey) Error() string {
	return fmt.Sprintf("message did not contain obligatory \"%s\" key", e.Key)
}

// Parse takes frame apart. An error means that the frame is not a message at all (not
// MessagePack, not a map, or without op or seq_number), so that nobody could be
// answered.
func (m *Message) Parse(frame []byte) error {
	*m = Message{fields: m.fields[:0], Seq: -1}
	n, b, err := msgp.ReadMapHeaderBytes(frame)
	if err != nil {
		return wrap(err)
	}
	if n > maxFields {
		return malformed("%d keys", n)
	}
	hasSeq := false
	for range n {
		var key []byte
		if key, b, err = readText(b); err != nil {
			return err
		}
		var rest []byte
		if string(key) == KeyArgs && (m.Op == "" || m.Op == OpUpdate) && msgp.NextType(b) == msgp.ArrayType {
			// Only an update's args are an array: decode while skipping, also before op.
			m.Entries, rest, m.Bad = decodeUpdate(b)
		}
		if rest == nil {
			rest, err = skip(b)
		}
		if err != nil {
			return err
		}
		raw := b[:len(b)-len(rest)]
		b = rest
		switch string(key) {
		case KeyOp:
			op, _, err := readText(raw)
			if err != nil {
				return malformed("op is not text")
			}
			m.Op = intern(op)
		case KeySeq:
			if m.Seq, _, err = msgp.ReadInt64Bytes(raw); err != nil || m.Seq < 0 {
				return malformed("seq_number is not a number from 0 on")
			}
			hasSeq = true
		case KeyCommandID:
			if id, _, err := readText(raw); err == nil {
				m.CommandID = clean(id)
			}
		case KeyException:
			m.Exception = true
		default:
			m.fields = append(m.fields, field{intern(key), raw})
		}
	}
	switch {
	case len(b) > 0:
		return malformed("%d bytes after the message", len(b))
	case m.Op == "":
		return &MissingKey{KeyOp}
	case !hasSeq:
		return &MissingKey{KeySeq}
	}
	if m.Op != OpUpdate {
		m.Entries, m.Bad = nil, nil
	} else if m.Entries == nil && m.Bad == nil {
		var raw []byte
		if raw, m.Bad = m.raw(KeyArgs); m.Bad == nil {
			_, _, m.Bad = decodeUpdate(raw)
		}
	}
	return nil
}

// Has says whether the message has a key beside those of the envelope.
func (m *Message) Has(key string) bool {
	_, err := m.raw(key)
	return err == nil
}

// Value decodes the value of key; the error is a *MissingKey if there is none.
func (m *Message) Value(key string) (any, error) {
	raw, err := m.raw(key)
	if err != nil {
		return nil, err
	}
	v, err := Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return v, nil
}

// Bytes returns the value of key, a bin or a str, as a slice of the frame.
func (m *Message) Bytes(key string) ([]byte, error) {
	raw, err := m.raw(key)
	if err != nil {
		return nil, err
	}
	text, _, err := readText(raw)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return text, nil
}

// Text returns the value of key, a str or a bin, as text.
func (m *Message) Text(key string) (string, error) {
	b, err := m.Bytes(key)
	return clean(b), err
}

// Int returns the value of key, a whole number.
func (m *Message) Int(key string) (int64, error) {
	raw, err := m.raw(key)
	if err != nil {
		return 0, err
	}
	n, _, err := msgp.ReadInt64Bytes(raw)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", key, wrap(err))
	}
	return n, nil
}

// Map decodes the value of key, a map with text keys.
func (m *Message) Map(key string) (map[string]any, error) {
	v, err := m.Value(key)
	if err != nil {
		return nil, err
	}
	out, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("read %s: %w", key, malformed("%T where a map should be", v))
	}
	return out, nil
}

// Raw returns the undecoded value of key, a slice of the frame; nil if there is none.
func (m *Message) Raw(key string) []byte { return m.last(key) }

// Size is how many bytes the value of key takes in the frame; 0 if there is none.
func (m *Message) Size(key string) int {
	return len(m.last(key))
}

func (m *Message) raw(key string) ([]byte, error) {
	if raw := m.last(key); raw != nil {
		return raw, nil
	}
	return nil, &MissingKey{key}
}

// last finds the last value of key: that is what a map would hold.
func (m *Message) last(key string) []byte {
	for i := len(m.fields) - 1; i >= 0; i-- {
		if m.fields[i].key == key {
			return m.fields[i].raw
		}
	}
	return nil
}
