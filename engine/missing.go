package engine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"buildstar/config"
	"buildstar/engine/mail"
	"buildstar/state"
)

// missing tells people of workers that do not come back (docs/requirements.md A4). Since
// when a worker is gone is in its row; for which loss there was a mail is remembered in
// the transaction that puts the mail into the outbox. So a restart neither loses nor
// doubles one.
type missing struct {
	m     *Master
	wake  chan struct{} // the configuration changed, or there is mail
	hurry atomic.Bool   // what waits for its next try is tried at once
}

func newMissing(m *Master) *missing { return &missing{m: m, wake: make(chan struct{}, 1)} }

// configured tries again what could not be sent: the mail server may be another one, or
// somebody has seen to it.
func (n *missing) configured() {
	n.hurry.Store(true)
	n.look()
}

// look makes run look again.
func (n *missing) look() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// letter is a mail in the outbox.
type letter struct {
	mail.Message
	Worker   string
	Attempts int
	Since    state.Time // when it was put there
	Next     state.Time // not before
}

// mailOwner is who remembers the outbox.
var mailOwner = config.Key{Kind: "service", Name: "mail"}

const (
	outboxName  = "outbox"
	missingName = "missing" // of a worker: since when it was gone when there was a mail
	mailLife    = 3 * 24 * time.Hour
	// mailGrace is how long a mail that is on its way may take when the master stops: one
	// that the server took must leave the outbox, or it is sent again.
	mailGrace = 3 * time.Second
)

// mailBackoff is how long a mail waits after its n-th failure: 1, 2, 4 ... minutes, at
// most an hour.
func mailBackoff(n int) time.Duration { return min(time.Minute<<min(n-1, 10), time.Hour) }

// run watches until ctx ends.
func (n *missing) run(ctx context.Context) {
	select {
	case <-n.m.ready:
	case <-ctx.Done():
		return
	}
	for ctx.Err() == nil {
		sub := n.m.o.Store.Subscribe(ctx, "workers/*/connected", "workers/*/disconnected")
		n.follow(ctx, sub)
	}
}

// follow looks whenever something may be due, until the subscription ends.
func (n *missing) follow(ctx context.Context, sub *state.Subscription) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case _, ok := <-sub.C:
			if !ok {
				return
			}
			for more := true; more; { // a burst is looked at once
				select {
				case _, more = <-sub.C:
				default:
					more = false
				}
			}
		case <-n.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		next, err := n.due(ctx)
		if err == nil {
			next, err = n.deliver(ctx, next)
		}
		if err != nil && ctx.Err() == nil {
			n.m.log.Error("watch for missing workers", "error", err)
			next = state.At(time.Now().Add(time.Minute))
		}
		if timer.Stop(); next != 0 {
			timer.Reset(max(time.Until(next.Time()), time.Millisecond))
		}
	}
}

// due puts mails into the outbox, and returns when the next one will be due; 0 if
// none will.
func (n *missing) due(ctx context.Context) (next state.Time, err error) {
	s := n.m.Snapshot()
	var gone []*config.Worker
	for _, w := range s.Workers {
		if len(w.NotifyOnMissing) == 0 || w.MissingTimeout <= 0 {
			continue
		}
		var at state.Time
		err := n.m.o.Store.View(ctx, func(tx state.ReadTx) (err error) {
			_, at, err = lost(tx, w)
			return err
		})
		switch {
		case err != nil:
			return 0, err
		case at == 0:
		case at <= state.Now():
			gone = append(gone, w)
		case next == 0 || at < next:
			next = at
		}
	}
	if gone == nil {
		return next, nil
	}
	return next, n.m.o.Store.Update(ctx, func(tx state.Tx) error {
		for _, w := range gone {
			if err := n.post(tx, w); err != nil {
				return err
			}
		}
		return nil
	})
}

// lost returns when the mail about a worker is due; 0 if it is connected, was never
// seen, or there was a mail.
func lost(tx state.ReadTx, w *config.Worker) (row state.Worker, at state.Time, err error) {
	rows, err := tx.Workers(state.Where("name", w.Name))
	if err != nil || len(rows) == 0 || rows[0].Connected || rows[0].ChangedAt == 0 {
		return row, 0, err
	}
	row = rows[0]
	var told state.Time
	if _, err := tx.Recall(w.Key(), missingName, (*int64)(&told)); err != nil {
		return row, 0, err
	}
	if told == row.ChangedAt {
		return row, 0, nil
	}
	return row, row.ChangedAt + state.Time(w.MissingTimeout.Milliseconds()), nil
}

// post puts the mail about a worker into the outbox, if it is still due.
func (n *missing) post(tx state.Tx, w *config.Worker) error {
	row, at, err := lost(tx, w)
	if err != nil || at == 0 || at > state.Now() {
		return err
	}
	if err := enclose(tx, w.Name, n.compose(w, row)); err != nil {
		return err
	}
	return tx.Remember(w.Key(), missingName, int64(row.ChangedAt))
}

// enclose puts a mail about a worker into the outbox.
func enclose(tx state.Tx, worker string, m mail.Message) error {
	var outbox []letter
	if _, err := tx.Recall(mailOwner, outboxName, &outbox); err != nil {
		return err
	}
	now := state.Now()
	return tx.Remember(mailOwner, outboxName, append(outbox, letter{Message: m, Worker: worker, Since: now, Next: now}))
}

func (n *missing) compose(w *config.Worker, row state.Worker) mail.Message {
	title, url := n.m.Snapshot().Master.Title, n.m.Snapshot().Master.BuildbotURL
	since := row.ChangedAt.Time()
	facts := row.Info.Map()
	host, _ := facts["host"].(string)
	body := fmt.Sprintf("The worker %q of %s has been missing since %s.\n", w.Name, title, since.UTC().Format("2006-01-02 15:04:05 UTC"))
	if host != "" {
		body += fmt.Sprintf("It last came from the host %q.\n", host)
	}
	if admin, _ := facts["admin"].(string); admin != "" {
		body += fmt.Sprintf("Its administrator is %s.\n", admin)
	}
	body += fmt.Sprintf("\nBuilds that only it can do wait until it is back: %sworkers/%s\n", url, w.Name)
	return mail.Message{
		ID: fmt.Sprintf("missing.%d.%d@%s", row.ID, row.ChangedAt, hostName()), To: w.NotifyOnMissing,
		Subject: fmt.Sprintf("%s: worker %s is missing", title, w.Name), Body: body, Date: time.Now(),
	}
}

// deliver sends what is due, and returns next or when the next mail is tried, which
// is earlier.
func (n *missing) deliver(ctx context.Context, next state.Time) (state.Time, error) {
	var outbox []letter
	err := n.m.o.Store.View(ctx, func(tx state.ReadTx) error {
		_, err := tx.Recall(mailOwner, outboxName, &outbox)
		return err
	})
	if err != nil {
		return next, err
	}
	hurry := n.hurry.Swap(false)
	for _, l := range outbox {
		if hurry || l.Next <= state.Now() {
			if err := n.attempt(ctx, &l); err != nil {
				return next, err
			}
		}
		if l.Next != 0 && (next == 0 || l.Next < next) {
			next = l.Next
		}
	}
	return next, nil
}

// attempt sends one mail and writes what came of it: l.Next is 0 if it left the
// outbox.
func (n *missing) attempt(ctx context.Context, l *letter) error {
	a := n.m.current.Load()
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(mailGrace, cancel) })()
	through, ok := relay(a.snapshot, l.Worker)
	var err error
	if ok {
		err = through.Send(sending, l.Message, a.secrets.Lookup)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	l.Attempts++
	log := n.m.log.With("worker", l.Worker, "to", l.To)
	switch age := time.Since(l.Since.Time()); {
	case !ok:
		l.Next = 0
		log.Info("no mail about a worker: no MailNotifier is about it")
	case err == nil:
		l.Next = 0
		defer log.Info("mail about a worker sent") // and known to be: it is not sent again
	case age > mailLife:
		l.Next = 0
		log.Error("mail about a worker was given up", "attempts", l.Attempts, "error", err)
	default:
		wait := n.m.o.MailBackoff(l.Attempts)
		l.Next = state.At(time.Now().Add(wait))
		defer log.Warn("mail about a worker was not sent", "again_in", wait, "error", err)
	}
	return n.m.o.Store.Update(context.WithoutCancel(ctx), func(tx state.Tx) error {
		var outbox []letter
		if _, err := tx.Recall(mailOwner, outboxName, &outbox); err != nil {
			return err
		}
		i := slices.IndexFunc(outbox, func(o letter) bool { return o.ID == l.ID })
		switch {
		case i < 0:
			return nil
		case l.Next != 0:
			outbox[i] = *l
		default:
			outbox = slices.Delete(outbox, i, i+1)
		}
		return tx.Remember(mailOwner, outboxName, outbox)
	})
}

// relay returns the mail server for a worker: that of the first reporter which sends mails
// about it; this machine's if there is no such reporter at all; none if there are, and all are
// about others.
func relay(s *config.Snapshot, worker string) (r mail.Relay, ok bool) {
	ok = true
	for _, r := range s.Master.Reporters {
		m, sends := r.(mail.Notifier)
		if sends && m.About(worker) {
			return m.Relay(), true
		}
		ok = ok && !sends
	}
	return mail.Relay{From: "buildstar@" + hostName()}, ok
}

func hostName() string {
	if name, err := os.Hostname(); err == nil {
		return name
	}
	return "localhost"
}
