package config

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"

	"buildstar/config/prop"
)

// canonical is what knows its own encoding: Templates and Renderables.
type canonical interface{ AppendCanonical(dst []byte) []byte }

// Hash returns the digest of a node's content: the canonical encoding of its
// exported fields, without positions. Two nodes with equal hashes behave alike,
// wherever they were declared. It panics if a field is of a kind that has no
// content, such as a function: that is a mistake of the declaration.
func Hash(node any) Digest {
	scratch := encodings.Get().(*[]byte)
	defer encodings.Put(scratch)
	*scratch = appendValue((*scratch)[:0], reflect.ValueOf(node))
	return sha256.Sum256(*scratch)
}

// encodings are buffers for encodings, which are needed for their digests only.
var encodings = sync.Pool{New: func() any { return new([]byte) }}

// A shape is what reflection found out about a type, once.
type shape struct {
	place     bool // a position, which is no content
	canonical bool
	nilable   bool
	fields    []shapeField
}

type shapeField struct {
	index int
	name  string
}

var (
	shapes        sync.Map // reflect.Type -> *shape
	canonicalType = reflect.TypeFor[canonical]()
	posType       = reflect.TypeFor[prop.Pos]()
)

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := &shape{
		place: t == posType, canonical: t.Implements(canonicalType),
		nilable: t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface,
	}
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() {
				s.fields = append(s.fields, shapeField{i, f.Name})
			}
		}
	}
	got, _ := shapes.LoadOrStore(t, s)
	return got.(*shape)
}

func appendValue(dst []byte, v reflect.Value) []byte {
	if !v.IsValid() {
		return append(dst, 'n')
	}
	s := shapeOf(v.Type())
	if s.place {
		return dst
	}
	if s.canonical && !(s.nilable && v.IsNil()) {
		if v.CanAddr() && !s.nilable {
			v = v.Addr() // the pointer has the method too, and making it an interface copies nothing
		}
		return v.Interface().(canonical).AppendCanonical(append(dst, 'c'))
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return append(dst, 'n')
		}
		if v.Kind() == reflect.Interface {
			dst = appendString(append(dst, 'I'), v.Elem().Type().String())
		}
		return appendValue(append(dst, 'p'), v.Elem())
	case reflect.Struct:
		dst = append(dst, '{')
		for _, f := range s.fields {
			dst = appendString(dst, f.name)
			dst = appendValue(dst, v.Field(f.index))
		}
		return append(dst, '}')
	case reflect.Slice, reflect.Array:
		dst = binary.AppendUvarint(append(dst, '['), uint64(v.Len()))
		for i := range v.Len() {
			dst = appendValue(dst, v.Index(i))
		}
		return dst
	case reflect.Map:
		return appendMap(dst, v)
	}
	return appendScalar(dst, v)
}

// appendMap appends the entries in the order of their encoded keys.
func appendMap(dst []byte, v reflect.Value) []byte {
	type entry struct{ key, value []byte }
	entries := make([]entry, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		entries = append(entries, entry{appendValue(nil, it.Key()), appendValue(nil, it.Value())})
	}
	slices.SortFunc(entries, func(a, b entry) int { return slices.Compare(a.key, b.key) })
	dst = binary.AppendUvarint(append(dst, 'm'), uint64(len(entries)))
	for _, e := range entries {
		dst = append(append(dst, e.key...), e.value...)
	}
	return dst
}

func appendScalar(dst []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.String:
		return appendString(append(dst, 's'), v.String())
	case reflect.Bool:
		if v.Bool() {
			return append(dst, 't')
		}
		return append(dst, 'f')
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return binary.AppendVarint(append(dst, 'i'), v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return binary.AppendUvarint(append(dst, 'u'), v.Uint())
	case reflect.Float32, reflect.Float64:
		return binary.BigEndian.AppendUint64(append(dst, 'd'), math.Float64bits(v.Float()))
	}
	panic(fmt.Sprintf("config: a node holds a %v, which has no content", v.Type()))
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
