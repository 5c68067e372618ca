package configtest_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/mail"
	"buildstar/starlark"
)

// around makes a configuration of lines that define workers, as people would finish it.
const around = `c = {}
c['services'] = []
%s
c['builders'] = [util.BuilderConfig("b", workernames = [w.name for w in c['workers']], factory = util.BuildFactory())]
c['schedulers'] = [schedulers.ForceScheduler("force", ["b"])]
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:9989:interface=127.0.0.1'}}
`

// The examples of Buildbot's chapters on workers (docs/requirements.md A1 to A7) as one
// writes them here, which is without the imports. What 0.8 had otherwise is refused with
// the line to write: testdata/worker-slaves, -buildslave, -buildslave-bare, -portnum,
// toplevel-old-names, reporters-old-modules.
func TestExamplesOfTheManual(t *testing.T) {
	plain := func(name, password string, change ...func(*config.Worker)) config.Worker {
		w := config.Worker{Class: "Worker", Name: name, Password: prop.Password(password), Keepalive: time.Hour, MissingTimeout: time.Hour}
		for _, c := range change {
			c(&w)
		}
		return w
	}
	local := func(name string) config.Worker {
		return config.Worker{Class: "LocalWorker", Name: name, Keepalive: time.Hour, MissingTimeout: time.Hour, Local: true}
	}
	for src, want := range map[string][]config.Worker{
		`c['workers'] = [worker.Worker('bot-solaris', 'solarispasswd'), worker.Worker('bot-bsd', 'bsdpasswd')]`: {
			plain("bot-solaris", "solarispasswd"), plain("bot-bsd", "bsdpasswd")},
		`c['workers'] = [worker.Worker('bot-solaris', 'solarispasswd', properties={ 'os':'solaris' })]`: {
			plain("bot-solaris", "solarispasswd", func(w *config.Worker) { w.Properties = map[string]any{"os": "solaris"} })},
		`c['workers'] = [worker.Worker('fast-bot', 'fast-passwd', defaultProperties={'parallel_make': 10})]`: {
			plain("fast-bot", "fast-passwd", func(w *config.Worker) { w.DefaultProperties = map[string]any{"parallel_make": int64(10)} })},
		`c['workers'] = [worker.Worker("bot-linux", "linuxpassword", max_builds=2)]`: {
			plain("bot-linux", "linuxpassword", func(w *config.Worker) { w.MaxBuilds = 2 })},
		`c['workers'] = [worker.Worker('bot-linux', 'linuxpasswd', keepalive_interval=3600)]`: {plain("bot-linux", "linuxpasswd")},
		`c['workers'] = [worker.Worker('bot-linux', 'linuxpasswd', keepalive_interval=None)]`: {
			plain("bot-linux", "linuxpasswd", func(w *config.Worker) { w.Keepalive = 0 })},
		`c['workers'] = [worker.Worker('bot-solaris', 'solarispasswd', notify_on_missing="bob@example.com")]`: {
			plain("bot-solaris", "solarispasswd", func(w *config.Worker) { w.NotifyOnMissing = []string{"bob@example.com"} })},
		`c['workers'] = [worker.Worker('bot-solaris', 'solarispasswd', notify_on_missing=["bob@example.com", "alice@example.org"],
                      missing_timeout=300)]`: {
			plain("bot-solaris", "solarispasswd", func(w *config.Worker) {
				w.NotifyOnMissing, w.MissingTimeout = []string{"bob@example.com", "alice@example.org"}, 5*time.Minute
			})},
		`c['workers'] = [worker.LocalWorker('bot1'), worker.LocalWorker('bot2')]`: {local("bot1"), local("bot2")},
	} {
		s, _, err := starlark.Replay(t.Context(), master(fmt.Sprintf(around, src)), nil, options)
		if err != nil {
			t.Errorf("%s:\n%v", src, err)
			continue
		}
		for i, w := range s.Workers {
			w := *w
			w.At = config.At{}
			if i >= len(want) || !reflect.DeepEqual(w, want[i]) {
				t.Errorf("%s: worker %d:\n%#v, want\n%#v", src, i, w, want)
			}
		}
		if len(s.Workers) != len(want) {
			t.Errorf("%s: %d workers, want %d", src, len(s.Workers), len(want))
		}
	}
}

func master(src string) []config.Input {
	return []config.Input{{Path: "master.star", Data: []byte(src)}}
}

// The MailNotifier that is only for missing workers (A4.7 to A4.10).
func TestMailNotifierOfTheManual(t *testing.T) {
	s, _, err := starlark.Replay(t.Context(), master(fmt.Sprintf(around, `
m = reporters.MailNotifier(fromaddr="buildbot@localhost", builders=[],
                           relayhost="smtp.example.org")
c['services'].append(m)
c['workers'] = [worker.Worker('bot-solaris', 'solarispasswd', notify_on_missing="bob@example.com")]`)), nil, options)
	if err != nil {
		t.Fatal(err)
	}
	n, ok := s.Master.Reporters[0].(mail.Notifier)
	if !ok || n.Relay().From != "buildbot@localhost" || n.Relay().Host != "smtp.example.org" || len(s.Master.Reporters) != 1 {
		t.Errorf("reporters: %+v", s.Master.Reporters)
	}
}
