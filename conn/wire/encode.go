package wire

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// Append appends v: nil, bool, any int or float, string, []byte (bin), []string,
// []int64, []float64, []any, map[string]any or map[string]string. Map keys are
// sorted, so that equal values have equal bytes. Anything else is an error.
func Append(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return msgp.AppendNil(b), nil
	case bool:
		return msgp.AppendBool(b, v), nil
	case int:
		return appendInt(b, int64(v)), nil
	case int64:
		return appendInt(b, v), nil
	case int32:
		return appendInt(b, int64(v)), nil
	case uint32:
		return appendInt(b, int64(v)), nil
	case uint64:
		return msgp.AppendUint64(b, v), nil
	case float64:
		return msgp.AppendFloat64(b, v), nil
	case float32:
		return msgp.AppendFloat64(b, float64(v)), nil
	case string:
		return appendText(b, v), nil
	case []byte:
		return msgp.AppendBytes(b, v), nil
	case []string:
		b = msgp.AppendArrayHeader(b, uint32(len(v)))
		for _, s := range v {
			b = appendText(b, s)
		}
		return b, nil
	case []int64:
		b = msgp.AppendArrayHeader(b, uint32(len(v)))
		for _, n := range v {
			b = appendInt(b, n)
		}
		return b, nil
	case []float64:
		b = msgp.AppendArrayHeader(b, uint32(len(v)))
		for _, f := range v {
			b = msgp.AppendFloat64(b, f)
		}
		return b, nil
	case []any:
		b = msgp.AppendArrayHeader(b, uint32(len(v)))
		return appendEach(b, v)
	case map[string]any:
		return appendMap(b, v)
	case map[string]string:
		return appendMap(b, v)
	}
	return b, fmt.Errorf("encode %T: the wire has no such type", v)
}

func appendEach(b []byte, values []any) (_ []byte, err error) {
	for _, v := range values {
		if b, err = Append(b, v); err != nil {
			return b, err
		}
	}
	return b, nil
}

func appendMap[V any](b []byte, m map[string]V) (_ []byte, err error) {
	b = msgp.AppendMapHeader(b, uint32(len(m)))
	var few [16]string
	for _, key := range sortedKeys(few[:0], m) {
		b = appendText(b, key)
		if b, err = Append(b, m[key]); err != nil {
			return b, fmt.Errorf("%s: %w", key, err)
		}
	}
	return b, nil
}

func sortedKeys[V any](keys []string, m map[string]V) []string {
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// appendInt takes the shortest form, which for 128 to 255 and the like is the
// unsigned one, as other MessagePack libraries do.
func appendInt(b []byte, n int64) []byte {
	if n >= 0 {
		return msgp.AppendUint64(b, uint64(n))
	}
	return msgp.AppendInt64(b, n)
}

// appendText appends s as str. Peers drop a whole message over one bad byte
// (docs/protocol.md 0.2 item 9), so bad ones are replaced.
func appendText(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = clean([]byte(s))
	}
	return msgp.AppendString(b, s)
}

// AppendRequest appends a request: op, seq and fields in one map, sorted. The error
// names a field whose value the wire has no type for.
func AppendRequest(b []byte, seq int64, op string, fields map[string]any) (_ []byte, err error) {
	b = msgp.AppendMapHeader(b, uint32(len(fields)+2))
	var few [16]string
	keys := sortedKeys(few[:0], fields)
	keys = append(keys, KeyOp, KeySeq)
	slices.Sort(keys)
	for _, key := range keys {
		b = appendText(b, key)
		switch key {
		case KeyOp:
			b = msgp.AppendString(b, op)
		case KeySeq:
			b = appendInt(b, seq)
		default:
			if b, err = Append(b, fields[key]); err != nil {
				return b, fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return b, nil
}

// AppendResponse appends the answer to the peer's request seq. If result has no type
// on the wire, the answer is an exception that says so: a request must be answered.
func AppendResponse(b []byte, seq int64, result any) []byte {
	start := len(b)
	b = msgp.AppendMapHeader(b, 3)
	b = msgp.AppendString(b, KeyOp)
	b = msgp.AppendString(b, OpResponse)
	b = msgp.AppendString(b, KeyResult)
	b, err := Append(b, result)
	if err != nil {
		return AppendException(b[:start], seq, err.Error())
	}
	b = msgp.AppendString(b, KeySeq)
	return appendInt(b, seq)
}

// AppendException appends an answer that reports an error.
func AppendException(b []byte, seq int64, text string) []byte {
	b = msgp.AppendMapHeader(b, 4)
	b = msgp.AppendString(b, KeyException)
	b = msgp.AppendBool(b, true)
	b = msgp.AppendString(b, KeyOp)
	b = msgp.AppendString(b, OpResponse)
	b = msgp.AppendString(b, KeyResult)
	b = appendText(b, text)
	b = msgp.AppendString(b, KeySeq)
	return appendInt(b, seq)
}

// AppendUpdate appends an update of a command. Text of an entry must be whole lines;
// the offsets are made from it and the times from Times, which may be nil.
func AppendUpdate(b []byte, seq int64, commandID string, entries []Entry) (_ []byte, err error) {
	b = msgp.AppendMapHeader(b, 4)
	b = msgp.AppendString(b, KeyArgs)
	b = msgp.AppendArrayHeader(b, uint32(len(entries)))
	for i := range entries {
		if b, err = appendEntry(b, &entries[i]); err != nil {
			return b, err
		}
	}
	b = msgp.AppendString(b, KeyCommandID)
	b = appendText(b, commandID)
	b = msgp.AppendString(b, KeyOp)
	b = msgp.AppendString(b, OpUpdate)
	b = msgp.AppendString(b, KeySeq)
	return appendInt(b, seq), nil
}

// Unnumbered takes its seq_number off a request that was made with 0 for it, so that it
// can be kept and be sent in another session: "seq_number" is the last of its keys.
func Unnumbered(request []byte) []byte { return request[:len(request)-1] }

// Numbered appends a request that Unnumbered returned, with its seq_number.
func Numbered(b, unnumbered []byte, seq int64) []byte {
	return appendInt(append(b, unnumbered...), seq)
}

func appendEntry(b []byte, e *Entry) (_ []byte, err error) {
	b = msgp.AppendArrayHeader(b, 2)
	b = appendText(b, e.Key)
	switch e.Key {
	case Stdout, Stderr, Header:
		return appendLines(b, e), nil
	case Log:
		b = msgp.AppendArrayHeader(b, 2)
		b = appendText(b, e.Log)
		return appendLines(b, e), nil
	}
	if b, err = Append(b, e.Value); err != nil {
		return b, fmt.Errorf("update %s: %w", e.Key, err)
	}
	return b, nil
}

func appendLines(b []byte, e *Entry) []byte {
	text := e.Text
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	b = msgp.AppendArrayHeader(b, 3)
	b = msgp.AppendStringFromBytes(b, text)
	b = msgp.AppendArrayHeader(b, uint32(bytes.Count(text, []byte{'\n'})))
	offset := int64(0) // in code points (docs/protocol.md 0.2 item 23)
	for {
		lf := bytes.IndexByte(text, '\n')
		if lf < 0 {
			break
		}
		offset += int64(utf8.RuneCount(text[:lf]))
		b = appendInt(b, offset)
		offset++
		text = text[lf+1:]
	}
	times := 0
	for _, run := range e.Times {
		times += run.Lines
	}
	b = msgp.AppendArrayHeader(b, uint32(times))
	for _, run := range e.Times {
		for range run.Lines {
			b = msgp.AppendFloat64(b, float64(run.Millis)/1000)
		}
	}
	return b
}
