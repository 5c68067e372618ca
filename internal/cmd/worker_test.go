package cmd

import "testing"

func TestMasterOfEnvironment(t *testing.T) {
	tests := []struct{ host, port, want string }{
		{"", "9989", ""},
		{"ci", "", "ws://ci:9989"},
		{"ci", "1234", "ws://ci:1234"},
		{"fd00::1", "1234", "ws://[fd00::1]:1234"},
		{"wss://ci", "1234", "wss://ci:1234"},
		{"wss://[fd00::1]", "1234", "wss://[fd00::1]:1234"},
		{"ws://10.0.0.1:9989", "", "ws://10.0.0.1:9989"},
		{"wss://[fd00::1]:9989", "1234", "wss://[fd00::1]:9989"},
	}
	for _, tt := range tests {
		env := map[string]string{"BUILDMASTER": tt.host, "BUILDMASTER_PORT": tt.port}
		if got := masterURL(envMaster(func(name string) string { return env[name] })); got != tt.want {
			t.Errorf("BUILDMASTER=%s BUILDMASTER_PORT=%s: got %q, want %q", tt.host, tt.port, got, tt.want)
		}
	}
}
