// Package smtptest is a mail server for tests.
package smtptest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Mail is one that came.
type Mail struct {
	User   string // who logged in
	From   string
	To     []string // of the envelope
	Header mail.Header
	Body   string
}

// Server is a mail server that runs until its test ends.
type Server struct {
	Port  int
	mails chan Mail

	mu      sync.Mutex
	refusal error
	refused chan struct{}
	hold    *hold // mails wait for its end; nil: they do not
	held    chan struct{}
}

// Start starts a server on loopback. With a configuration it offers STARTTLS, and
// secure makes it begin with TLS.
func Start(t testing.TB, config *tls.Config, secure bool) *Server {
	t.Helper()
	return StartAt(t, 0, config, secure)
}

// StartAt is Start at a port.
func StartAt(t testing.TB, port int, config *tls.Config, secure bool) *Server {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, l, config, secure)
}

func serve(t testing.TB, l net.Listener, config *tls.Config, secure bool) *Server {
	t.Helper()
	s := &Server{Port: l.Addr().(*net.TCPAddr).Port, mails: make(chan Mail, 100), refused: make(chan struct{}, 100), held: make(chan struct{}, 100)}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{s: s}, nil }))
	server.Domain, server.TLSConfig = "localhost", config
	server.ErrorLog = quiet{}
	if secure {
		l = tls.NewListener(l, config)
	}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// Refuse makes the server refuse every mail with an error; nil ends that.
func (s *Server) Refuse(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = why
}

// hold is a time in which mails get no answer.
type hold struct {
	ended  chan struct{}
	answer error // to those that waited
}

// Hold makes the server read mails and not answer, until release is called: those that
// waited are refused with its error, or taken if that is nil.
func (s *Server) Hold() (release func(answer error)) {
	h := &hold{ended: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = h
	return func(answer error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hold = nil
		h.answer = answer
		close(h.ended)
	}
}

// Held waits until a mail waits for its answer.
func (s *Server) Held(t testing.TB) {
	t.Helper()
	select {
	case <-s.held:
	case <-time.After(patience):
		t.Fatal("no mail came that could wait")
	}
}

const patience = 20 * time.Second

// Refused waits until a mail was refused.
func (s *Server) Refused(t testing.TB) {
	t.Helper()
	select {
	case <-s.refused:
	case <-time.After(patience):
		t.Fatal("no mail was refused")
	}
}

// Next waits for the next mail.
func (s *Server) Next(t testing.TB) Mail {
	t.Helper()
	select {
	case m := <-s.mails:
		return m
	case <-time.After(patience):
		t.Fatal("no mail came")
		return Mail{}
	}
}

type session struct {
	s *Server
	m Mail
}

func (x *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (x *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "right" {
			return smtp.ErrAuthFailed
		}
		x.m.User = user
		return nil
	}), nil
}
func (x *session) Reset()        { x.m = Mail{User: x.m.User} }
func (x *session) Logout() error { return nil }
func (x *session) Mail(from string, _ *smtp.MailOptions) error {
	x.m.From = from
	return nil
}
func (x *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	x.m.To = append(x.m.To, to)
	return nil
}

func (x *session) Data(r io.Reader) error {
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(msg.Body)
	if err != nil {
		return err
	}
	x.s.mu.Lock()
	refusal, hold := x.s.refusal, x.s.hold
	x.s.mu.Unlock()
	if hold != nil {
		x.s.held <- struct{}{}
		<-hold.ended
		if hold.answer != nil {
			return hold.answer
		}
	}
	if refusal != nil {
		x.s.refused <- struct{}{}
		return refusal
	}
	x.m.Header, x.m.Body = msg.Header, strings.ReplaceAll(string(body), "\r\n", "\n")
	x.s.mails <- x.m
	return nil
}
