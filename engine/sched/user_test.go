package sched

import (
	"strings"
	"testing"
)

func TestUser(t *testing.T) {
	for u, want := range map[User]struct{ who, owner string }{
		{}:                                       {"anonymous", "anonymous"},
		{Name: "ann"}:                            {"ann", "ann"},
		{Email: "a@b"}:                           {"a@b", "a@b"},
		{Name: "ann", Email: "a@b"}:              {"ann <a@b>", "ann <a@b>"},
		Visitor("192.0.2.1:1234", ""):            {"anonymous@192.0.2.1", "anonymous"},
		Visitor("[2001:db8::1]:80", ""):          {"anonymous@2001:db8::1", "anonymous"},
		Visitor("@", ""):                         {"anonymous@@", "anonymous"}, // of a Unix socket
		Visitor("192.0.2.1:1234", "joe.b-2"):     {"joe.b-2@192.0.2.1 (not logged in)", "anonymous"},
		Visitor("192.0.2.1:1234", "<b>\nann@x "): {"bannx@192.0.2.1 (not logged in)", "anonymous"},
		Visitor("192.0.2.1:1234", strings.Repeat("x", 100)): {strings.Repeat("x", 32) + "@192.0.2.1 (not logged in)", "anonymous"},
	} {
		if u.String() != want.who || u.Owner() != want.owner {
			t.Errorf("%+v: %s, %s", u, u, u.Owner())
		}
	}
}
