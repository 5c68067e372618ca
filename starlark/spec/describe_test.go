package spec_test

import (
	"testing"

	"buildstar/starlark/spec"
)

func TestDescribe(t *testing.T) {
	d := spec.Describe(module.Classes[0])
	const want = `m.All(s = "", i = 3, i64 = 0, b = False, f = 0.0, d = 90, dp = None, p = None, l = [], ll = [], m = {}, ` +
		`a = None, t = "dflt", tl = None, tp = None, ta = None, r = None, w = [], thing = None, things = [], v = None, c = None, ` +
		`one = "", dict = None, *, extra = "")`
	if got := d.Signature(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if d.GoType != "buildstar/starlark/spec_test.all" || len(d.Unsupported) != 1 || d.Unsupported[0] != "later" {
		t.Errorf("described as %+v", d)
	}
	byName := make(map[string]spec.Param)
	for _, p := range d.Params {
		byName[p.Name] = p
	}
	if p := byName["i"]; p.Type != "int" || p.Min != "1" || p.Max != "10" || p.GoField != "I" || p.Required {
		t.Errorf("i is described as %+v", p)
	}
	if p := byName["one"]; len(p.OneOf) != 3 {
		t.Errorf("one is described as %+v", p)
	}
	if got, want := spec.Describe(module.Classes[3]).Signature(), "m.Rest(format, *args, **kwargs)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
