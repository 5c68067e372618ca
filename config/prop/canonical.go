package prop

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// AppendValue appends an encoding of a property value that differs for values
// that differ, 1 and 1.0 and True included. A Go value that is no property value
// encodes itself if it can (AppendCanonical) and is otherwise its JSON.
func AppendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, 'N')
	case bool:
		if v {
			return append(dst, 'T')
		}
		return append(dst, 'F')
	case int64:
		return binary.AppendVarint(append(dst, 'I'), v)
	case float64:
		return binary.BigEndian.AppendUint64(append(dst, 'D'), math.Float64bits(v))
	case string:
		return appendString(append(dst, 'S'), v)
	case *float64:
		if v == nil {
			return append(dst, 'N')
		}
		return AppendValue(dst, *v)
	case []any:
		dst = binary.AppendUvarint(append(dst, 'L'), uint64(len(v)))
		for _, e := range v {
			dst = AppendValue(dst, e)
		}
		return dst
	case map[string]any:
		dst = binary.AppendUvarint(append(dst, 'M'), uint64(len(v)))
		for _, k := range sortedKeys(v) {
			dst = AppendValue(appendString(dst, k), v[k])
		}
		return dst
	case interface{ AppendCanonical([]byte) []byte }:
		return v.AppendCanonical(append(dst, 'C'))
	}
	b, err := json.Marshal(v)
	if err != nil {
		b = fmt.Append(nil, v)
	}
	return appendString(append(dst, 'J'), string(b))
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// appendNode appends a tagged sequence of Renderables; nil stands for "not given".
func appendNode(dst []byte, tag string, parts ...Renderable) []byte {
	dst = binary.AppendUvarint(appendString(append(dst, 'R'), tag), uint64(len(parts)))
	for _, p := range parts {
		if p == nil {
			dst = append(dst, '-')
			continue
		}
		dst = p.AppendCanonical(append(dst, '+'))
	}
	return dst
}
