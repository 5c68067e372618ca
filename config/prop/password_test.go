package prop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestPasswordIsNeverPrinted(t *testing.T) {
	const text = "hunter2"
	p := Password(text)
	holder := struct {
		P  Password
		Q  *Password
		PS []Password
	}{p, &p, []Password{p}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %[1]v"} {
		fmt.Fprintf(&out, verb+"\n", p)
		fmt.Fprintf(&out, verb+"\n", holder)
	}
	j, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "p", p, "h", holder)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "p", p, "h", holder)
	for _, leak := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprintf("%d", []byte(text))} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q was printed:\n%s", leak, out.String())
		}
	}
	if !strings.Contains(string(j), "password") {
		t.Errorf("JSON %s does not say that there is a password", j)
	}
}

func TestPasswordMatches(t *testing.T) {
	p := Password("hunter2")
	for given, want := range map[string]bool{"hunter2": true, "hunter": false, "hunter22": false, "": false, passwordMask: false} {
		if p.Matches(given) != want {
			t.Errorf("%q: got %t", given, !want)
		}
	}
	if Password("").Matches("") {
		t.Error("the empty password lets someone in")
	}
	if p.Reveal() != "hunter2" {
		t.Errorf("Reveal: %q", p.Reveal())
	}
}

func TestPasswordCanonical(t *testing.T) {
	a, b := Password("a-long-secret").AppendCanonical(nil), Password("another").AppendCanonical(nil)
	if bytes.Equal(a, b) {
		t.Error("two passwords have one encoding")
	}
	if bytes.Contains(a, []byte("a-long-secret")) {
		t.Error("the encoding holds the password")
	}
}
