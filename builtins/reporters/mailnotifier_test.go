package reporters

import (
	"reflect"
	"strings"
	"testing"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/builtins/util"
	"buildstar/config/prop"
	"buildstar/engine/mail"
	"buildstar/starlark/spec"
)

func eval(t *testing.T, src string) (mail.Notifier, prop.Problems) {
	t.Helper()
	env := &spec.Env{Collect: true}
	thread := &star.Thread{}
	env.Attach(thread)
	g, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "master.star", "x = "+src,
		star.StringDict{"reporters": Module.Value(env), "util": util.Module.Value(env)})
	if err != nil {
		t.Fatal(err)
	}
	if ps := env.Problems(); ps != nil {
		return nil, ps
	}
	return g["x"].(*spec.Object).Value.(mail.Notifier), nil
}

func TestMailNotifier(t *testing.T) {
	plain := mail.Relay{From: "ci@example.com", Host: "localhost", Port: 25, CopyOnly: true}
	with := func(change func(*mail.Relay)) mail.Relay {
		r := plain
		change(&r)
		return r
	}
	for args, want := range map[string]mail.Relay{
		``:                                plain,
		`, builders = []`:                 plain,
		`, relayhost = "smtp.x"`:          with(func(r *mail.Relay) { r.Host = "smtp.x" }),
		`, smtpPort = 587, useTls = True`: with(func(r *mail.Relay) { r.Port, r.StartTLS = 587, true }),
		`, smtpPort = 465, useSmtps = True, smtpUser = "u", smtpPassword = util.Secret("s")`: with(func(r *mail.Relay) {
			r.Port, r.TLS, r.User, r.Password = 465, true, "u", prop.Credential{Secret: "s"}
		}),
		`, smtpUser = "u", smtpPassword = "p"`:                       with(func(r *mail.Relay) { r.User, r.Password = "u", prop.Credential{Password: "p"} }),
		`, lookup = "example.com"`:                                   with(func(r *mail.Relay) { r.Lookup = "example.com" }),
		`, extraRecipients = ["a@b"], sendToInterestedUsers = False`: with(func(r *mail.Relay) { r.Extra, r.CopyOnly = []string{"a@b"}, false }),
		`, extraHeaders = {"X-CI": "1"}`:                             with(func(r *mail.Relay) { r.Headers = map[string]string{"X-CI": "1"} }),
	} {
		n, ps := eval(t, `reporters.MailNotifier("ci@example.com"`+args+`)`)
		if ps != nil {
			t.Errorf("%s: %v", args, ps)
			continue
		}
		if got := n.Relay(); !reflect.DeepEqual(got, want) || n.Type() != "MailNotifier" {
			t.Errorf("%s: got %+v, want %+v", args, got, want)
		}
	}
}

func TestMailNotifierProblems(t *testing.T) {
	for src, want := range map[string]string{
		`reporters.MailNotifier()`:                                      "fromaddr: required",
		`reporters.MailNotifier("ci")`:                                  "fromaddr: it is no mail address",
		`reporters.MailNotifier("a@b", extraRecipients = ["x"])`:        "extraRecipients: it is no mail address",
		`reporters.MailNotifier("a@b", smtpUser = "u")`:                 "belong together",
		`reporters.MailNotifier("a@b", useTls = True, useSmtps = True)`: "useTls is set too",
		`reporters.MailNotifier("a@b", smtpPort = 70000)`:               "smtpPort",
		`reporters.MailNotifier("a@b", lookup = "@x")`:                  "want a domain without @",
		`reporters.MailNotifier("a@b", builders = ["x"])`:               "builders: the only mails so far are those about missing workers",
		`reporters.MailNotifier("a@b", generators = ["x"])`:             "generators",
		`reporters.WorkerMissingGenerator(workers = "one")`:             "workers: want list of strings",
		`reporters.WorkerMissingGenerator(message_formatter = None)`:    "message_formatter: not supported yet",
		`reporters.GitHubStatusPush("token")`:                           "not supported yet",
	} {
		_, ps := eval(t, src)
		if len(ps) != 1 || !strings.Contains(ps.Error(), want) {
			t.Errorf("%s: got %v, want %q", src, ps, want)
		}
	}
}

// Which workers a notifier is about.
func TestWorkerMissingGenerator(t *testing.T) {
	for args, want := range map[string]string{
		``:                    "a b",
		`, generators = None`: "a b",
		`, generators = []`:   "",
		`, generators = [reporters.WorkerMissingGenerator()]`:                                                                   "a b",
		`, generators = [reporters.WorkerMissingGenerator(workers = "all")]`:                                                    "a b",
		`, generators = [reporters.WorkerMissingGenerator(workers = ["a"])]`:                                                    "a",
		`, generators = [reporters.WorkerMissingGenerator(workers = [])]`:                                                       "",
		`, generators = [reporters.WorkerMissingGenerator(workers = ["c"]), reporters.WorkerMissingGenerator(workers = ["b"])]`: "b",
	} {
		n, ps := eval(t, `reporters.MailNotifier("ci@example.com"`+args+`)`)
		if ps != nil {
			t.Errorf("%s: %v", args, ps)
			continue
		}
		var about []string
		for _, w := range []string{"a", "b"} {
			if n.About(w) {
				about = append(about, w)
			}
		}
		if got := strings.Join(about, " "); got != want {
			t.Errorf("%s: about %q, want %q", args, got, want)
		}
	}
}
