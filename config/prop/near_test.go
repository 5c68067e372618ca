package prop

import "testing"

func TestNearest(t *testing.T) {
	among := []string{"name", "password", "max_builds", "properties", "defaultProperties", "locks", "workernames", "workername"}
	for name, want := range map[string]string{
		"nmae": "name", "Name": "name", "maxBuilds": "max_builds", "max-builds": "max_builds", "pasword": "password",
		"passwd": "password", "property": "properties", "default_properties": "defaultProperties",
		"workerNames": "workernames", "wrokername": "workername", "lock": "locks", "xyz": "", "": "", "n": "",
		"timeout": "", "name": "", "defa": "defaultProperties", "worker": "",
	} {
		if got := Nearest(name, among); got != want {
			t.Errorf("nearest to %q is %q, want %q", name, got, want)
		}
	}
}
