package prop

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// testdata/printf.json holds what Python 3.11 printed for [conversion, value];
// null where it refused.
func TestVerbPrintsAsPython(t *testing.T) {
	data, err := os.ReadFile("testdata/printf.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows [][3]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) < 3000 {
		t.Fatalf("only %d rows", len(rows))
	}
	for _, row := range rows {
		format, value := row[0].(string), fromJSON(row[1])
		v, n, err := parseVerb(format[1:])
		if err != nil || n != len(format)-1 {
			t.Errorf("%s: parsed %d bytes, %v", format, n, err)
			continue
		}
		got, err := v.append(nil, value)
		want, ok := row[2].(string)
		if (err == nil) != ok || err == nil && string(got) != want {
			t.Errorf("%s of %#v: got %q, %v; Python: %#v", format, value, got, err, row[2])
		}
	}
}

func fromJSON(v any) any {
	switch v := v.(type) {
	case json.Number:
		if strings.ContainsAny(v.String(), ".e") {
			f, _ := v.Float64()
			return f
		}
		n, _ := v.Int64()
		return n
	case []any:
		for i := range v {
			v[i] = fromJSON(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = fromJSON(v[k])
		}
	}
	return v
}

func TestStr(t *testing.T) {
	tests := []struct {
		v    any
		want string
	}{
		{nil, "None"},
		{true, "True"},
		{int64(7), "7"},
		{1e22, "1e+22"},
		{100.0, "100.0"},
		{"it's", "it's"},
		{[]any{"it's", int64(1), nil}, `["it's", 1, None]`},
		{map[string]any{"b": 1.5, "a": "x"}, "{'a': 'x', 'b': 1.5}"},
		{"\xff", "\xff"},
		{[]any{"\xff"}, `['\xff']`},
	}
	for _, tt := range tests {
		if got := Str(tt.v); got != tt.want {
			t.Errorf("Str(%#v) = %s, want %s", tt.v, got, tt.want)
		}
	}
}
