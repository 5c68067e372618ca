package util

import (
	"strings"
	"testing"

	"buildstar/config"
)

func TestInstanceCap(t *testing.T) {
	got := *value[*config.InstanceCap](t, `x = util.InstanceCap("c", max_instances = 10, hours_per_day = 1.5)`)
	if got != (config.InstanceCap{Name: "c", MaxInstances: 10, HoursPerDay: 1.5}) {
		t.Errorf("%+v", got)
	}
	for src, want := range map[string]string{
		`util.InstanceCap("", max_instances = 1)`: "name is empty", `util.InstanceCap("c")`: "limits nothing",
		`util.InstanceCap("c", max_instances = -1)`: "at least 0",
	} {
		if _, ps := eval(t, "x = "+src); len(ps) != 1 || !strings.Contains(ps[0].Text, want) {
			t.Errorf("%s: %+v", src, ps)
		}
	}
}
