package state

import (
	"encoding/json"
	"testing"
)

// Time is whole seconds in JSON, both ways.
func TestTimeJSON(t *testing.T) {
	for in, want := range map[string]Time{`1700000002`: 1_700_000_002_000, `null`: 0, `-3`: -3000} {
		var got Time
		if err := json.Unmarshal([]byte(in), &got); err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", in, got, err, want)
		}
		if back, err := json.Marshal(got); err != nil || string(back) != in {
			t.Errorf("%d: written as %s, %v", got, back, err)
		}
	}
	for _, bad := range []string{`1.5`, `"1"`, `{}`, `9223372036854775807`, `true`} {
		var got Time
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s: read as %d", bad, got)
		}
	}
}
