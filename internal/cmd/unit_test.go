package cmd

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// worker runs "buildstar worker" with these arguments.
func workerOutput(t *testing.T, args ...string) (out string, status int) {
	t.Helper()
	var b bytes.Buffer
	a := &app{out: &b, err: &b, getenv: func(string) string { return "" }}
	status = a.main(t.Context(), append([]string{"worker"}, args...))
	return b.String(), status
}

func TestWorkerUnit(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	out, status := workerOutput(t, "--systemd", "--master", "wss://ci:9989", "--name", "w", "--basedir", "a b$%", "--password-file", "pw",
		"--ca-file", "ca.pem", "--maxretries", "3", "--proxy", "http://p:1")
	want := ` worker --master wss://ci:9989 --name w --basedir "` + here + `/a b$$%%" --password-file ` + here + `/pw --ca-file ` + here +
		"/ca.pem --proxy http://p:1 --maxretries 3\n"
	if status != 0 || !strings.Contains(out, want) || !strings.Contains(out, "Restart=on-failure") {
		t.Errorf("status %d, want %q in\n%s", status, want, out)
	}
	if !strings.Contains(out, "TimeoutStopSec=30\n") {
		t.Errorf("no limit for the stop in\n%s", out)
	}
	out, status = workerOutput(t, "--systemd", "--graceful", "--master", "ci:9989", "--name", "w", "--password-file", "pw")
	if status != 0 || !strings.Contains(out, " --graceful\n") || !strings.Contains(out, "TimeoutStopSec=infinity\n") {
		t.Errorf("status %d\n%s", status, out)
	}
}

func TestWorkerFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"the unit needs --password-file":                 {"--systemd", "--master", "m:1", "--name", "w"},
		"everybody on this machine can read":             {"--proxy", "http://me:secret@p:1", "--master", "m:1", "--name", "w"},
		"which worker is this? Give --name NAME":         {"--master", "m:1"},
		"which master? Give --master":                    {"--name", "w"},
		`unexpected argument "x"`:                        {"x"},
		"no password: give --password-file FILE, or set": {"--master", "m:1", "--name", "w"},
	} {
		if out, status := workerOutput(t, args...); status != 2 || !strings.Contains(out, want) {
			t.Errorf("%q: status %d, want 2 and %q in\n%s", args, status, want, out)
		}
	}
}
