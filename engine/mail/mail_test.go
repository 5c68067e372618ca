package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"buildstar/config/prop"
	"buildstar/internal/smtptest"
	"buildstar/internal/tlstest"
)

var pair tls.Certificate

// The system trusts a certificate of the test, which is read once in a process.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mail-")
	if err != nil {
		panic(err)
	}
	if err := tlstest.Make(dir); err != nil {
		panic(err)
	}
	os.Setenv("SSL_CERT_FILE", filepath.Join(dir, "cert.pem"))
	if pair, err = tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")); err != nil {
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

var message = Message{ID: "1.2@ci", To: []string{"admin@example.com", "joe"}, Subject: "grüße", Body: "Gone.\n", Date: time.Unix(1e9, 0)}

func noSecrets(_ context.Context, name string) (string, error) {
	if name == "mail" {
		return "right", nil
	}
	return "", errors.New("no secret " + name)
}

func TestSend(t *testing.T) {
	s := smtptest.Start(t, nil, false)
	r := Relay{From: "CI <ci@example.com>", Host: "127.0.0.1", Port: s.Port, Lookup: "example.org", Extra: []string{"all@example.com"},
		CopyOnly: true, Headers: map[string]string{"X-CI": "yes"}}
	if err := r.Send(t.Context(), message, noSecrets); err != nil {
		t.Fatal(err)
	}
	m := s.Next(t)
	if m.From != "ci@example.com" || !slices.Equal(m.To, []string{"admin@example.com", "joe@example.org", "all@example.com"}) || m.Body != "Gone.\n" {
		t.Errorf("got %+v", m)
	}
	for name, want := range map[string]string{"To": "<admin@example.com>, <joe@example.org>", "Cc": "<all@example.com>", "X-Ci": "yes",
		"Message-Id": "<1.2@ci>", "Subject": "=?UTF-8?q?gr=C3=BC=C3=9Fe?=", "From": `"CI" <ci@example.com>`} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if at, err := m.Header.Date(); err != nil || at.Unix() != 1e9 {
		t.Errorf("date: %v, %v", at, err)
	}
	r.CopyOnly = false
	if err := r.Send(t.Context(), message, noSecrets); err != nil {
		t.Fatal(err)
	}
	if m := s.Next(t); m.Header.Get("Cc") != "" || !strings.Contains(m.Header.Get("To"), "all@example.com") {
		t.Errorf("got %v", m.Header)
	}
}

func TestSendSecurely(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	start, begin, plain := smtptest.Start(t, config, false), smtptest.Start(t, config, true), smtptest.Start(t, nil, false)
	for _, tt := range []struct {
		name  string
		relay Relay
		from  *smtptest.Server
		fails string
	}{
		{"STARTTLS", Relay{StartTLS: true, Port: start.Port, User: "ci", Password: prop.Credential{Password: "right"}}, start, ""},
		{"SMTPS", Relay{TLS: true, Port: begin.Port, User: "ci", Password: prop.Credential{Secret: "mail"}}, begin, ""},
		{"a wrong password", Relay{StartTLS: true, Port: start.Port, User: "ci", Password: prop.Credential{Password: "wrong"}}, nil, "535"},
		{"no such secret", Relay{StartTLS: true, Port: start.Port, User: "ci", Password: prop.Credential{Secret: "none"}}, nil, "no secret none"},
		{"no STARTTLS", Relay{StartTLS: true, Port: plain.Port}, nil, "STARTTLS"},
		{"another name", Relay{StartTLS: true, Host: "127.0.0.2", Port: start.Port}, nil, "127.0.0.2"},
		{"a bad address", Relay{From: "x", Port: plain.Port}, nil, `address "x"`},
	} {
		r := tt.relay
		if r.From == "" {
			r.From = "ci@example.com"
		}
		if r.Host == "" {
			r.Host = "127.0.0.1"
		}
		r.Lookup = "example.org"
		err := r.Send(t.Context(), message, noSecrets)
		switch {
		case tt.fails == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.fails == "":
			if m := tt.from.Next(t); m.User != "ci" {
				t.Errorf("%s: user %q", tt.name, m.User)
			}
		case err == nil || !strings.Contains(err.Error(), tt.fails):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.fails)
		}
	}
}

// A server that says nothing ends with the context.
func TestSendToTheSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := l.Accept()
		if err == nil {
			cancel()
			c.Read(make([]byte, 1)) // until the client has had enough
			c.Close()
		}
	}()
	r := Relay{From: "ci@example.com", Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Lookup: "example.org"}
	if err := r.Send(ctx, message, noSecrets); err == nil {
		t.Error("it was sent")
	}
}
