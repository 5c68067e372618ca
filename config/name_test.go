package config

import "testing"

func TestCheckIdentifier(t *testing.T) {
	for _, name := range []string{"bot-solaris", "a", "_", "-x", "Bot_1", "größe", "日本-1", "\u00a0", "\U0010ffff"} {
		if err := CheckIdentifier(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "1bot", "a b", "a.b", "a/b", "a\n", "a\x7f", "a\u0080", "a\u009f", "a\xff", "../x"} {
		if CheckIdentifier(name) == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}
