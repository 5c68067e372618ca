package prop

import (
	"encoding/json"
	"strings"
)

// Facts is what a worker said about itself, by name, as the JSON of an object; "" is
// nothing. It stays text until somebody asks, because most workers of many idle, and a
// map takes three times as much.
type Facts string

// FactsOf returns what Map gives back. Values are property values.
func FactsOf(m map[string]any) Facts { return Facts(AppendJSON(nil, m)) }

// Map returns a new map, which the caller may change. It is empty if f is no object.
func (f Facts) Map() map[string]any {
	m := map[string]any{}
	in := json.NewDecoder(strings.NewReader(string(f)))
	in.UseNumber()
	if f == "" || in.Decode(&m) != nil || m == nil {
		return map[string]any{}
	}
	Plain(m)
	return m
}
