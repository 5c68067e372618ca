package latent

import "testing"

func TestSplitMaster(t *testing.T) {
	type want struct {
		host string
		port int
	}
	for in, w := range map[string]want{
		"ci.example.org": {"ci.example.org", 0}, "ci:9989": {"ci", 9989}, "10.0.0.1": {"10.0.0.1", 0}, "10.0.0.1:80": {"10.0.0.1", 80},
		"::1": {"::1", 0}, "[::1]": {"::1", 0}, "[fd00::1]:9989": {"fd00::1", 9989}, "fe80::1%eth0": {"fe80::1%eth0", 0},
	} {
		host, port, err := SplitMaster(in)
		if err != nil || (want{host, port}) != w {
			t.Errorf("%q: %q, %d, %v", in, host, port, err)
		}
	}
	for _, in := range []string{"", "ci:", "ci:x", "ci:0", "ci:70000", ":9989", "[::1", "ws://ci:9989", "a b", "[10.0.0.1]", "[ci]"} {
		if host, port, err := SplitMaster(in); err == nil {
			t.Errorf("%q: %q, %d", in, host, port)
		}
	}
}

func TestLaunchURL(t *testing.T) {
	for want, l := range map[string]Launch{
		"ws://h:1": {Host: "h", Port: 1}, "wss://[::1]:2": {Host: "::1", Port: 2, TLS: true},
	} {
		if got := l.URL(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
