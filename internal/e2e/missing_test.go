package e2e

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"buildstar/config"
	"buildstar/internal/smtptest"
	"buildstar/state"
	"buildstar/state/sqlite"
)

const missed = `
c = {}
c["workers"] = [worker.Worker("own", "p", notify_on_missing = "admin@example.com", missing_timeout = {AFTER})]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
c["services"] = [reporters.MailNotifier("ci@example.com", relayhost = "127.0.0.1", smtpPort = {SMTP}, builders = [])]
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["own"], factory = util.BuildFactory())]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["b"])]
`

// mailing is missed with a mail server, whose mails are due after seconds.
func mailing(port, seconds int) string {
	return strings.NewReplacer("{SMTP}", strconv.Itoa(port), "{AFTER}", strconv.Itoa(seconds)).Replace(missed)
}

// A worker is lost and the master killed before the mail is due: the next master sends it,
// and none sends a second one about that loss (docs/requirements.md A4).
func TestMissingMail(t *testing.T) {
	server := smtptest.Start(t, nil, false)
	m := newMaster(t, mailing(server.Port, 3600))
	m.start()
	lose := func() smtptest.Mail {
		own := m.startOwn("own", "p")
		m.connected("own")
		if err := own.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		m.waitFor("the worker is lost", func() bool {
			out, _ := buildstar(t, "workers", m.dir)
			return strings.Contains(out, "no, since")
		})
		m.kill()
		m.configure(mailing(server.Port, 1))
		m.start()
		return server.Next(t)
	}
	first := lose()
	if want := `"own" of Buildbot has been missing since 2`; !strings.Contains(first.Body, want) {
		t.Errorf("no %q in %s", want, first.Body)
	}
	m.waitFor("the master knows that the mail was taken", func() bool {
		return strings.Contains(m.log.String(), "mail about a worker sent")
	})
	m.kill()
	m.configure(mailing(server.Port, 3600))
	m.start()
	if second := lose(); first.Header.Get("Message-Id") == second.Header.Get("Message-Id") {
		t.Error("two mails about one loss")
	}
}

// A mail waits in the database while its server is down, refuses, and is slow, whatever
// becomes of the master meanwhile, and comes once (docs/requirements.md A4.4).
func TestMailServerDown(t *testing.T) {
	port := freePort(t)
	m := newMaster(t, mailing(port, 1))
	m.start()
	unsent := 0
	fails := func(why string) {
		t.Helper()
		m.waitFor("the mail is not sent: "+why, func() bool {
			return strings.Count(m.log.String(), "mail about a worker was not sent") > unsent
		})
		unsent = strings.Count(m.log.String(), "mail about a worker was not sent")
		if s := m.log.String(); !strings.Contains(s[strings.LastIndex(s, "was not sent"):], why) {
			t.Errorf("the log does not say %q", why)
		}
	}
	own := m.startOwn("own", "p")
	m.connected("own")
	if err := own.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	fails("connection refused")
	m.kill()
	m.start() // it tries at once, and not in a minute
	fails("connection refused")

	server := smtptest.StartAt(t, port, nil, false)
	server.Refuse(errors.New("the disk is full"))
	m.reconfig(0)
	server.Refused(t)
	fails("the disk is full")
	if got := m.letters(); got != 1 {
		t.Errorf("%d mails wait", got)
	}

	release := server.Hold()
	server.Refuse(nil)
	m.start()
	server.Held(t) // it has the mail, and does not say so
	m.kill()
	release(errors.New("nobody waits any more"))
	release = server.Hold()
	m.start()
	server.Held(t)
	release(nil)
	mail := server.Next(t)
	if want := `"own" of Buildbot has been missing since 2`; !strings.Contains(mail.Body, want) {
		t.Errorf("no %q in %s", want, mail.Body)
	}
	m.waitFor("the master knows that the mail was taken", func() bool {
		return strings.Contains(m.log.String(), "mail about a worker sent")
	})
	if got := m.letters(); got != 0 {
		t.Errorf("%d mails wait in the end", got)
	}
}

// letters kills the master and returns how many mails wait in its database.
func (m *master) letters() int {
	m.t.Helper()
	m.kill()
	store, err := sqlite.Open(m.t.Context(), filepath.Join(m.dir, "state.sqlite"), sqlite.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		m.t.Fatal(err)
	}
	defer store.Close()
	var letters []any
	err = store.View(m.t.Context(), func(tx state.ReadTx) error {
		_, err := tx.Recall(config.Key{Kind: "service", Name: "mail"}, "outbox", &letters)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return len(letters)
}
