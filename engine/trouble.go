package engine

import (
	"fmt"
	"slices"
	"time"

	"buildstar/config"
	"buildstar/engine/instance"
	"buildstar/engine/mail"
	"buildstar/state"
)

// absentName is what is remembered of a latent worker: the newest instance that there was a
// mail about because it was missing.
const absentName = "missing instance"

// trouble puts a mail about an instance into the outbox, in the transaction that writes what
// is wrong with it (docs/requirements.md A4.11, A8.7, D1 pain 2). It goes to those who hear
// of the worker, and to those who get all mails. Of a worker none of whose instances connects
// there is one mail until one does (A4.4).
func (n *missing) trouble(tx state.Tx, t instance.Trouble) error {
	var to []string
	if t.Worker != nil {
		to = t.Worker.NotifyOnMissing
	}
	if t.Missing != "" {
		if len(to) == 0 {
			return nil
		}
		if news, err := news(tx, t.Instance); err != nil || !news {
			return err
		}
	} else if r, _ := relay(n.m.Snapshot(), t.Instance.Worker); len(to) == 0 && len(r.Extra) == 0 {
		return nil
	}
	return enclose(tx, t.Instance.Worker, n.describe(t, to))
}

// news reports whether an instance of the worker connected since the last mail about a
// missing one; then this one is remembered as the last.
func news(tx state.Tx, i state.Instance) (bool, error) {
	owner := config.Key{Kind: config.KindWorker, Name: i.Worker}
	var last int64
	if _, err := tx.Recall(owner, absentName, &last); err != nil {
		return false, err
	}
	q := state.Where("worker", i.Worker)
	q.Where = append(q.Where, state.Filter{Field: "instanceid", Op: state.Gt, Values: []any{last}})
	since, err := tx.Instances(q)
	if err != nil {
		return false, err
	}
	if last != 0 && !slices.ContainsFunc(since, func(s state.Instance) bool { return s.ConnectedAt != 0 }) {
		return false, nil
	}
	return true, tx.Remember(owner, absentName, i.ID)
}

func (n *missing) describe(t instance.Trouble, to []string) mail.Message {
	title, url := n.m.Snapshot().Master.Title, n.m.Snapshot().Master.BuildbotURL
	i := t.Instance
	name := fmt.Sprintf("instance %d", i.ID)
	if i.Handle != "" {
		name += fmt.Sprintf(" (%s)", i.Handle)
	}
	name += fmt.Sprintf(" of worker %q of %s, which was started at %s", i.Worker, title, i.CreatedAt.Time().UTC().Format("2006-01-02 15:04:05 UTC"))
	m := mail.Message{
		ID: fmt.Sprintf("instance.%d.%d@%s", i.ID, i.Failures, hostName()), To: to, Date: time.Now(),
		Subject: fmt.Sprintf("%s: worker %s is missing", title, i.Worker),
		Body:    fmt.Sprintf("The %s, is missing: %s.\n\nIt is being stopped. There is no other mail until one of this worker connects.\n", name, t.Missing),
	}
	if t.Missing == "" {
		m.Subject = fmt.Sprintf("%s: an instance of worker %s cannot be stopped", title, i.Worker)
		m.Body = fmt.Sprintf("The %s, cannot be stopped: %s.\n\nIt may still cost money. It is tried again and again, at most every five minutes;"+
			" until it works no build gets this worker.\n", name, i.Failure)
	}
	m.Body += fmt.Sprintf("\nWhat is known of it: %sworkers/%s\n", url, i.Worker)
	return m
}
