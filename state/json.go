package state

import (
	"maps"
	"slices"
	"strconv"
)

// MasterID is the id of this master in every row that names one: a store has one
// master.
const MasterID int64 = 1

// The AppendJSON methods append a row as the REST API shows it: one compact object,
// with the fields and nulls of Buildbot's (docs/ui-contract.md section 2). They never
// fail and only append, so rows can be rendered into one buffer. MarshalJSON is the
// same for encoding/json.

// AppendJSON appends the row.
func (m Master) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("masterid", m.ID)
	o.string("name", m.Name)
	o.bool("active", m.Active)
	o.time("last_active", m.LastActive)
	return o.end()
}

// AppendJSON appends the row. A builder that is not configured has no masters, which
// is how clients know that it is old. description_html is null: rendering is the
// page's.
func (b Builder) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("builderid", b.ID)
	o.string("name", b.Name)
	o.text("description", b.Description)
	o.text("description_format", b.DescriptionFormat)
	o.null("description_html")
	o.id("projectid", b.ProjectID)
	o.name("tags")
	o.dst = appendStrings(o.dst, b.Tags)
	o.name("masterids")
	if b.Active {
		o.dst = append(o.dst, "[1]"...)
	} else {
		o.dst = append(o.dst, "[]"...)
	}
	return o.end()
}

func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, s)
	}
	return append(dst, ']')
}

// AppendJSON appends the row.
func (p Project) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("projectid", p.ID)
	o.string("name", p.Name)
	o.string("slug", p.Slug)
	o.text("description", p.Description)
	o.text("description_format", p.DescriptionFormat)
	o.null("description_html")
	o.bool("active", p.Active)
	return o.end()
}

// AppendJSON appends the row. configured_on is missing: it is derived from the
// configuration in force, which is not known here; who knows it puts it before the
// closing brace.
func (w Worker) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("workerid", w.ID)
	o.string("name", w.Name)
	o.name("connected_to")
	if w.Connected {
		o.dst = append(o.dst, `[{"masterid":1}]`...)
	} else {
		o.dst = append(o.dst, "[]"...)
	}
	o.name("workerinfo")
	if w.Info == "" {
		w.Info = "{}"
	}
	o.dst = append(o.dst, w.Info...)
	o.bool("paused", w.Paused)
	o.text("pause_reason", w.PauseReason)
	o.bool("graceful", w.Graceful)
	o.text("paused_by", w.PausedBy)
	o.time("paused_at", w.PausedAt)
	o.text("graceful_reason", w.GracefulReason)
	o.text("graceful_by", w.GracefulBy)
	o.time("graceful_at", w.GracefulAt)
	o.time("quarantine_since", w.Quarantine.Since)
	o.time("quarantine_until", w.Quarantine.Until)
	o.int("quarantine_count", w.Quarantine.Count)
	o.text("quarantine_cause", w.Quarantine.Cause)
	o.id("quarantine_buildid", w.Quarantine.BuildID)
	o.time("changed_at", w.ChangedAt)
	return o.end()
}

// AppendJSON appends the row. The master field that REST adds is missing.
func (s Scheduler) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("schedulerid", s.ID)
	o.string("name", s.Name)
	o.bool("enabled", s.Enabled)
	o.text("error", s.Error)
	o.time("error_at", s.ErrorAt)
	o.time("acted_at", s.ActedAt)
	return o.end()
}

// AppendJSON appends the row. The master field that REST adds is missing.
func (c ChangeSource) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("changesourceid", c.ID)
	o.string("name", c.Name)
	o.text("error", c.Error)
	return o.end()
}

// AppendJSON appends the row.
func (s SourceStamp) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("ssid", s.ID)
	o.optional("branch", s.Branch)
	o.optional("revision", s.Revision)
	o.string("project", s.Project)
	o.string("repository", s.Repository)
	o.string("codebase", s.Codebase)
	o.time("created_at", s.CreatedAt)
	o.null("patch")
	return o.end()
}

// AppendJSON appends the row.
func (c Change) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("changeid", c.ID)
	o.string("author", c.Author)
	o.optional("committer", c.Committer)
	o.optional("branch", c.Branch)
	o.optional("category", c.Category)
	o.string("codebase", c.Codebase)
	o.string("comments", c.Comments)
	o.name("files")
	o.dst = appendStrings(o.dst, c.Files)
	o.name("parent_changeids")
	o.dst = append(o.dst, '[')
	for i, id := range c.ParentIDs {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = strconv.AppendInt(o.dst, id, 10)
	}
	o.dst = append(o.dst, ']')
	o.string("project", c.Project)
	o.name("properties")
	o.dst = c.Properties.AppendJSON(o.dst)
	o.string("repository", c.Repository)
	o.optional("revision", c.Revision)
	o.optional("revlink", c.RevLink)
	o.time("when_timestamp", c.When)
	o.name("sourcestamp")
	o.dst = c.SourceStamp.AppendJSON(o.dst)
	return o.end()
}

// AppendJSON appends the row.
func (b Buildset) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("bsid", b.ID)
	o.optional("external_idstring", b.ExternalID)
	o.string("reason", b.Reason)
	o.id("rebuilt_buildid", b.RebuiltBuildID)
	o.name("sourcestamps")
	o.dst = append(o.dst, '[')
	for i, s := range b.SourceStamps {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = s.AppendJSON(o.dst)
	}
	o.dst = append(o.dst, ']')
	o.time("submitted_at", b.SubmittedAt)
	o.bool("complete", b.Complete)
	o.time("complete_at", b.CompleteAt)
	o.int("results", int64(b.Results))
	o.id("parent_buildid", b.ParentBuildID)
	o.text("parent_relationship", b.ParentRelationship)
	return o.end()
}

// AppendJSON appends the row. properties is null: they are the buildset's.
func (r BuildRequest) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("buildrequestid", r.ID)
	o.int("buildsetid", r.BuildsetID)
	o.int("builderid", r.BuilderID)
	o.int("priority", r.Priority)
	o.bool("claimed", r.Claimed)
	o.time("claimed_at", r.ClaimedAt)
	o.nullable("claimed_by_masterid", MasterID, r.Claimed)
	o.bool("complete", r.Complete)
	o.int("results", int64(r.Results))
	o.time("submitted_at", r.SubmittedAt)
	o.time("complete_at", r.CompleteAt)
	o.bool("waited_for", r.WaitedFor)
	o.null("properties")
	return o.end()
}

// AppendJSON appends the row with those properties that Properties holds.
func (b Build) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("buildid", b.ID)
	o.int("number", b.Number)
	o.int("builderid", b.BuilderID)
	o.id("buildrequestid", b.RequestID)
	o.int("workerid", b.WorkerID)
	o.int("masterid", MasterID)
	o.time("started_at", b.StartedAt)
	o.time("complete_at", b.CompleteAt)
	o.int("locks_duration_s", b.LocksDuration)
	o.bool("complete", b.Complete)
	o.string("state_string", b.StateString)
	o.nullable("results", int64(b.Results), b.Complete && b.Results >= 0)
	o.name("properties")
	o.dst = b.Properties.AppendJSON(o.dst)
	return o.end()
}

// AppendJSON appends the row.
func (s Step) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("stepid", s.ID)
	o.int("number", s.Number)
	o.string("name", s.Name)
	o.int("buildid", s.BuildID)
	o.time("started_at", s.StartedAt)
	o.time("locks_acquired_at", s.LocksAcquiredAt)
	o.bool("complete", s.Complete)
	o.time("complete_at", s.CompleteAt)
	o.string("state_string", s.StateString)
	o.nullable("results", int64(s.Results), s.Complete && s.Results >= 0)
	o.name("urls")
	o.dst = AppendURLs(o.dst, s.URLs)
	o.bool("hidden", s.Hidden)
	return o.end()
}

// AppendURLs appends links as a JSON list of objects with name and url.
func AppendURLs(dst []byte, urls []URL) []byte {
	dst = append(dst, '[')
	for i, u := range urls {
		if i > 0 {
			dst = append(dst, ',')
		}
		o := object{dst: dst}
		o.string("name", u.Name)
		o.string("url", u.URL)
		dst = o.end()
	}
	return append(dst, ']')
}

// AppendJSON appends the row.
func (l Log) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("logid", l.ID)
	o.string("name", l.Name)
	o.string("slug", l.Slug)
	o.int("stepid", l.StepID)
	o.bool("complete", l.Complete)
	o.int("num_lines", l.NumLines)
	o.string("type", l.Type)
	return o.end()
}

// AppendJSON appends [value, source].
func (p Property) AppendJSON(dst []byte) []byte {
	dst = AppendValue(append(dst, '['), p.Value)
	return append(AppendString(append(dst, ','), p.Source), ']')
}

// AppendJSON appends an object of [value, source] by name, sorted; {} for none.
func (p Properties) AppendJSON(dst []byte) []byte { return p.appendEach(dst, Property.AppendJSON) }

// AppendKept appends an object of what is kept of each, by name, sorted; {} for none.
func (p Properties) AppendKept(dst []byte) []byte { return p.appendEach(dst, Property.appendKept) }

func (p Properties) appendEach(dst []byte, one func(Property, []byte) []byte) []byte {
	dst = append(dst, '{')
	for i, name := range slices.Sorted(maps.Keys(p)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, name), ':')
		dst = one(p[name], dst)
	}
	return append(dst, '}')
}

// appendKept appends [value, source], or [value, source, secrets] if there are any.
func (p Property) appendKept(dst []byte) []byte {
	dst = p.AppendJSON(dst)
	if len(p.Secrets) == 0 {
		return dst
	}
	return append(appendStrings(append(dst[:len(dst)-1], ','), p.Secrets), ']')
}

func (m Master) MarshalJSON() ([]byte, error)       { return m.AppendJSON(nil), nil }
func (b Builder) MarshalJSON() ([]byte, error)      { return b.AppendJSON(nil), nil }
func (p Project) MarshalJSON() ([]byte, error)      { return p.AppendJSON(nil), nil }
func (w Worker) MarshalJSON() ([]byte, error)       { return w.AppendJSON(nil), nil }
func (s Scheduler) MarshalJSON() ([]byte, error)    { return s.AppendJSON(nil), nil }
func (c ChangeSource) MarshalJSON() ([]byte, error) { return c.AppendJSON(nil), nil }
func (s SourceStamp) MarshalJSON() ([]byte, error)  { return s.AppendJSON(nil), nil }
func (c Change) MarshalJSON() ([]byte, error)       { return c.AppendJSON(nil), nil }
func (b Buildset) MarshalJSON() ([]byte, error)     { return b.AppendJSON(nil), nil }
func (r BuildRequest) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }
func (b Build) MarshalJSON() ([]byte, error)        { return b.AppendJSON(nil), nil }
func (s Step) MarshalJSON() ([]byte, error)         { return s.AppendJSON(nil), nil }
func (l Log) MarshalJSON() ([]byte, error)          { return l.AppendJSON(nil), nil }
func (p Property) MarshalJSON() ([]byte, error)     { return p.appendKept(nil), nil }
func (p Properties) MarshalJSON() ([]byte, error)   { return p.AppendKept(nil), nil }
