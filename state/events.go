package state

import "strconv"

// The events of rows, with every path under which Buildbot's clients may have
// subscribed to them (docs/requirements.md C10, docs/ui-contract.md section 4). All are pure.

// Event returns the event of this master: verb "started" or "stopped".
func (m Master) Event(verb string) Event {
	return Event{Key: key(verb, "masters", m.ID), Row: m}
}

// Event returns the event of a builder: verb "started" (it became part of the
// configuration), "stopped" (it left it) or "update".
func (b Builder) Event(verb string) Event {
	e := Event{Key: key(verb, "builders", b.ID), Row: b}
	e.Aliases = append(e.Aliases, key(verb, "masters", MasterID, "builders", b.ID))
	if b.ProjectID != 0 {
		e.Aliases = append(e.Aliases, key(verb, "projects", b.ProjectID, "builders", b.ID))
	}
	return e
}

// Event returns the event of a project: verb "new" or "update".
func (p Project) Event(verb string) Event {
	return Event{Key: key(verb, "projects", p.ID), Row: p}
}

// Event returns the event of a worker: verb "configured", "connected",
// "disconnected", "missing" or "state_updated". Which builders it serves is not
// known here: who offers builders/N/workers/*/* looks at the workers' own events.
func (w Worker) Event(verb string) Event {
	return Event{
		Key:     key(verb, "workers", w.ID),
		Aliases: []string{key(verb, "masters", MasterID, "workers", w.ID)},
		Row:     w,
	}
}

// Event returns the event of a scheduler: verb "started", "stopped" or "updated".
func (s Scheduler) Event(verb string) Event {
	return Event{
		Key:     key(verb, "schedulers", s.ID),
		Aliases: []string{key(verb, "masters", MasterID, "schedulers", s.ID)},
		Row:     s,
	}
}

// Event returns the event of a change: verb "new".
func (c Change) Event(verb string) Event {
	return Event{Key: key(verb, "changes", c.ID), Row: c}
}

// Event returns the event of a change source: verb "started", "stopped" or
// "updated".
func (c ChangeSource) Event(verb string) Event {
	return Event{
		Key:     key(verb, "changesources", c.ID),
		Aliases: []string{key(verb, "masters", MasterID, "changesources", c.ID)},
		Row:     c,
	}
}

// Event returns the event of a buildset: verb "new" or "complete".
func (b Buildset) Event(verb string) Event {
	return Event{Key: key(verb, "buildsets", b.ID), Row: b}
}

// Event returns the event of a request: verb "new", "claimed", "unclaimed",
// "update", "cancel" or "complete".
func (r BuildRequest) Event(verb string) Event {
	return Event{
		Key: key(verb, "buildrequests", r.ID),
		Aliases: []string{
			key(verb, "builders", r.BuilderID, "buildrequests", r.ID),
			key(verb, "buildsets", r.BuildsetID, "buildrequests", r.ID),
		},
		Row: r,
	}
}

// Event returns the event of a build: verb "new", "update" or "finished". The row
// goes without its properties, which have events of their own.
func (b Build) Event(verb string) Event {
	b.Properties = nil
	e := Event{Key: key(verb, "builds", b.ID), Row: b}
	e.Aliases = append(e.Aliases, key(verb, "builders", b.BuilderID, "builds", b.ID))
	if b.WorkerID != 0 {
		e.Aliases = append(e.Aliases, key(verb, "workers", b.WorkerID, "builds", b.ID))
	}
	if b.RequestID != 0 {
		e.Aliases = append(e.Aliases, key(verb, "buildrequests", b.RequestID, "builds", b.ID))
	}
	return e
}

// PropertiesEvent returns builds/N/properties/update; its row is the properties
// that changed.
func PropertiesEvent(buildID int64, changed Properties) Event {
	return Event{Key: key("update", "builds", buildID, "properties"), Row: changed}
}

// Event returns the event of a step: verb "new", "started", "updated" or
// "finished". Under its build a step goes by its id too, not by its number.
func (s Step) Event(verb string) Event {
	return Event{
		Key:     key(verb, "steps", s.ID),
		Aliases: []string{key(verb, "builds", s.BuildID, "steps", s.ID)},
		Row:     s,
	}
}

// Event returns the event of a log: verb "new", "append" or "finished". For
// "append" NumLines is what the log now has.
func (l Log) Event(verb string) Event {
	return Event{
		Key:     key(verb, "logs", l.ID),
		Aliases: []string{key(verb, "steps", l.StepID, "logs", l.Slug)},
		Row:     l,
	}
}

// key joins words and ids with slashes and puts the verb last.
func key(verb string, parts ...any) string {
	var buf [64]byte
	dst := buf[:0]
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			dst = append(dst, p...)
		case int64:
			dst = strconv.AppendInt(dst, p, 10)
		}
		dst = append(dst, '/')
	}
	return string(append(dst, verb...))
}
