package e2e

import (
	"strconv"
	"strings"
	"syscall"
	"testing"

	"buildstar/internal/smtptest"
)

const missed = `
c = {}
c["workers"] = [worker.Worker("own", "p", notify_on_missing = "admin@example.com", missing_timeout = 3)]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
c["services"] = [reporters.MailNotifier("ci@example.com", relayhost = "127.0.0.1", smtpPort = {SMTP}, builders = [])]
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["own"], factory = util.BuildFactory())]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["b"])]
`

// A worker is lost and the master killed before the mail is due: the next master sends it,
// and none sends a second one about that loss (docs/requirements.md A4).
func TestMissingMail(t *testing.T) {
	server := smtptest.Start(t, nil, false)
	m := newMaster(t, strings.ReplaceAll(missed, "{SMTP}", strconv.Itoa(server.Port)))
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
	m.start()
	if second := lose(); first.Header.Get("Message-Id") == second.Header.Get("Message-Id") {
		t.Error("two mails about one loss")
	}
}
