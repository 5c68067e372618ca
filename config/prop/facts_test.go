package prop

import (
	"reflect"
	"testing"
)

func TestFacts(t *testing.T) {
	all := map[string]any{"admin": "Joe <joe@x>", "numcpus": int64(2), "load": 2.0, "codename": nil, "list": []any{int64(1), "a"}}
	if got := FactsOf(all).Map(); !reflect.DeepEqual(got, all) {
		t.Errorf("%v, want %v", got, all)
	}
	for _, f := range []Facts{"", "{}", "null", "[1]", `{"a":`, FactsOf(nil)} {
		if got := f.Map(); got == nil || len(got) != 0 {
			t.Errorf("%q: %v", f, got)
		}
	}
}
