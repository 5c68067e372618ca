// Package mail sends mail through a relay, by SMTP (docs/requirements.md C8).
package mail

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"buildstar/config"
	"buildstar/config/prop"
)

// patience bounds one attempt to send a mail.
const patience = time.Minute

// Relay is a mail server, and what it is told. The zero Relay but for From is the
// server on port 25 of this machine.
type Relay struct {
	From     string
	Host     string
	Port     int
	StartTLS bool // refuse to go on without
	TLS      bool // from the first byte
	User     string
	Password prop.Credential
	Headers  map[string]string
	Extra    []string // get everything too
	CopyOnly bool     // Extra is in Cc and not in To
	Lookup   string   // domain of users that are no addresses
}

// Notifier is a reporter that has a relay.
type Notifier interface {
	config.Reporter
	Relay() Relay
	// About reports whether it sends mails about a worker.
	About(worker string) bool
}

// Message is one mail.
type Message struct {
	ID      string // unique; who gets it twice can tell by it
	To      []string
	Subject string
	Body    string
	Date    time.Time
}

// Send sends a message, within a minute. secret finds the password if it is a secret.
func (r Relay) Send(ctx context.Context, m Message, secret func(context.Context, string) (string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	msg, err := r.compose(m)
	if err != nil {
		return err
	}
	options := []gomail.Option{gomail.WithPort(cmp.Or(r.Port, gomail.DefaultPort)), gomail.WithTimeout(patience), gomail.WithTLSPolicy(gomail.NoTLS)}
	if r.StartTLS {
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if r.TLS {
		options = append(options, gomail.WithSSL())
	}
	if r.User != "" {
		password := r.Password.Password.Reveal()
		if r.Password.Secret != "" {
			if password, err = secret(ctx, r.Password.Secret); err != nil {
				return err
			}
		}
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(r.User), gomail.WithPassword(password))
	}
	host := cmp.Or(r.Host, "localhost")
	client, err := gomail.NewClient(host, options...)
	if err == nil {
		err = client.DialAndSendWithContext(ctx, msg)
	}
	if err != nil {
		return fmt.Errorf("send mail through %s: %w", host, err)
	}
	return nil
}

// compose makes the mail.
func (r Relay) compose(m Message) (*gomail.Msg, error) {
	msg := gomail.NewMsg()
	if err := msg.From(r.From); err != nil {
		return nil, fmt.Errorf("address %q: %w", r.From, err)
	}
	to, cc := r.addresses(m.To), []string(nil)
	if r.CopyOnly && len(to) > 0 {
		cc = r.Extra
	} else {
		to = append(to, r.Extra...)
	}
	if err := msg.To(to...); err != nil {
		return nil, fmt.Errorf("addresses %q: %w", to, err)
	}
	if len(cc) > 0 {
		if err := msg.Cc(cc...); err != nil {
			return nil, fmt.Errorf("addresses %q: %w", cc, err)
		}
	}
	msg.Subject(m.Subject)
	msg.SetMessageIDWithValue(m.ID)
	msg.SetDateWithValue(m.Date)
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		msg.SetGenHeader(gomail.Header(name), r.Headers[name])
	}
	msg.SetBodyString(gomail.TypeTextPlain, m.Body)
	return msg, nil
}

// addresses makes addresses of users.
func (r Relay) addresses(users []string) []string {
	out := make([]string, 0, len(users))
	for _, u := range users {
		if r.Lookup != "" && !strings.Contains(u, "@") {
			u += "@" + r.Lookup
		}
		out = append(out, u)
	}
	return out
}
