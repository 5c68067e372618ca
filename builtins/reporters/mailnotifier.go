package reporters

import (
	netmail "net/mail"
	"slices"
	"strings"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/mail"
	"buildstar/starlark/spec"
)

// MailNotifier is reporters.MailNotifier (docs/requirements.md A4, C8).
var MailNotifier = &spec.Class{
	Module: "reporters", Name: "MailNotifier",
	New: func() any {
		return &mailNotifier{Relayhost: "localhost", SMTPPort: 25, SendToInterestedUsers: true}
	},
	Unsupported: map[string]string{
		"dumpMailsToLog": "",
		"mode":           onlyMissing + "; leave it out", "subject": onlyMissing + "; leave it out", "tags": onlyMissing + "; leave it out",
		"addLogs": onlyMissing + "; leave it out", "messageFormatter": onlyMissing + "; leave it out",
	},
}

// mailNotifier sends mail about workers that are missing, to those whom the workers'
// notify_on_missing names. A mail that cannot be sent is tried again for three days.
type mailNotifier struct {
	config.At
	// Fromaddr is the address that mails come from.
	Fromaddr string `star:"fromaddr"`
	// Relayhost is the mail server; the default is localhost.
	Relayhost string `star:"relayhost,optional"`
	// Lookup is the domain to append to names that are no addresses: "example.com".
	Lookup string `star:"lookup,optional"`
	// ExtraRecipients get every mail too.
	ExtraRecipients []string `star:"extraRecipients,optional"`
	// SendToInterestedUsers puts the extra recipients into Cc, the default; False into To,
	// with the others.
	SendToInterestedUsers bool `star:"sendToInterestedUsers,optional"`
	// ExtraHeaders are added to every mail.
	ExtraHeaders map[string]string `star:"extraHeaders,optional"`
	// UseTLS makes the connection secure with STARTTLS, and refuses to go on without.
	UseTLS bool `star:"useTls,optional"`
	// UseSMTPS makes it secure from its first byte; the port of that is 465.
	UseSMTPS bool `star:"useSmtps,optional"`
	// SMTPUser is who logs in at the server; without it nobody does.
	SMTPUser string `star:"smtpUser,optional"`
	// SMTPPassword is the password for that, a string or util.Secret.
	SMTPPassword prop.Credential `star:"smtpPassword,optional"`
	// SMTPPort is the port of the server, 1 to 65535; the default is 25.
	SMTPPort int `star:"smtpPort,optional" min:"1" max:"65535"`
	// Builders must be [], if it is given: no mails are sent about builds.
	Builders *[]string `star:"builders,optional"`
	// Generators are reporters.WorkerMissingGenerator, which say about which workers this
	// one sends mails; the default is about all, [] is none. A mail is sent by the first
	// MailNotifier of c['services'] that is about its worker.
	Generators *[]generator `star:"generators,optional"`
}

// Make makes the reporter.
func (n *mailNotifier) Make(c *spec.Call) any {
	checkAddress(c, "fromaddr", n.Fromaddr)
	for _, a := range n.ExtraRecipients {
		checkAddress(c, "extraRecipients", a)
	}
	if (n.SMTPUser == "") != !n.SMTPPassword.IsSet() {
		c.Problem("bad-value", "smtpUser", "smtpUser and smtpPassword belong together", "give both or neither")
	}
	if n.UseTLS && n.UseSMTPS {
		c.Problem("bad-value", "useSmtps", "useTls is set too", "choose one of them")
	}
	if strings.Contains(n.Lookup, "@") {
		c.Problem("bad-value", "lookup", "want a domain without @", `write "example.com"`)
	}
	if n.Builders != nil && len(*n.Builders) > 0 {
		c.Problem("not-supported", "builders", onlyMissing, "write builders=[] or leave it out")
	}
	return n
}

func checkAddress(c *spec.Call, param, address string) {
	if _, err := netmail.ParseAddress(address); err != nil {
		c.Problem("bad-value", param, "it is no mail address", `write "ci@example.com"`)
	}
}

// Type implements config.Reporter.
func (*mailNotifier) Type() string { return "MailNotifier" }

// About implements mail.Notifier.
func (n *mailNotifier) About(worker string) bool {
	return n.Generators == nil || slices.ContainsFunc(*n.Generators, func(g generator) bool { return g.about(worker) })
}

// Relay implements mail.Notifier.
func (n *mailNotifier) Relay() mail.Relay {
	return mail.Relay{
		From: n.Fromaddr, Host: n.Relayhost, Port: n.SMTPPort, StartTLS: n.UseTLS, TLS: n.UseSMTPS, User: n.SMTPUser,
		Password: n.SMTPPassword, Headers: n.ExtraHeaders, Extra: n.ExtraRecipients, CopyOnly: n.SendToInterestedUsers, Lookup: n.Lookup,
	}
}
