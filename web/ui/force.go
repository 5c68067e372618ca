package ui

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/state"
)

// forceModel is /builders/<name>/force.
type forceModel struct {
	Builder    string      `json:"builder"`
	BuilderURL string      `json:"builder_url"`
	Forms      []link      `json:"schedulers"` // the force schedulers of this builder
	Scheduler  string      `json:"scheduler"`
	Label      string      `json:"label"`
	Button     string      `json:"button"`
	Enabled    bool        `json:"enabled"`
	Fields     []formField `json:"fields"`
	Error      string      `json:"error,omitempty"` // about the form as a whole
	Steps      []string    `json:"steps"`           // what will run: the names of the steps, or their classes
	Workers    []string    `json:"workers"`
	builderID  int64
}

// formField is a field of the form with what is filled in.
type formField struct {
	Name     string      `json:"name"` // the full name; "" of a group without one
	ID       string      `json:"-"`
	Label    string      `json:"label"`
	Type     string      `json:"type"`
	Value    string      `json:"value"`
	Values   []string    `json:"values,omitempty"` // of a list with several
	Checked  bool        `json:"checked,omitempty"`
	Choices  []string    `json:"choices,omitempty"`
	Multiple bool        `json:"multiple,omitempty"`
	Strict   bool        `json:"strict,omitempty"`
	Required bool        `json:"required,omitempty"`
	Pattern  string      `json:"regex,omitempty"`
	Tooltip  string      `json:"tooltip,omitempty"`
	MaxSize  int64       `json:"maxsize,omitempty"`
	Size     int64       `json:"size,omitempty"`
	Rows     int64       `json:"rows,omitempty"`
	Hide     bool        `json:"hide,omitempty"`
	Error    string      `json:"error,omitempty"`
	Focus    bool        `json:"-"` // the first field with an error
	Layout   string      `json:"layout,omitempty"`
	Fields   []formField `json:"fields,omitempty"`
}

// Picked reports whether a choice is filled in.
func (f formField) Picked(choice string) bool {
	if f.Multiple {
		return slices.Contains(f.Values, choice)
	}
	return f.Value == choice
}

// Listed reports whether the value is one of the choices.
func (f formField) Listed() bool { return slices.Contains(f.Choices, f.Value) }

// forms returns the force schedulers that may start a builder, in their order.
func (rq *request) forms(builder string) []sched.Forcer {
	snap := rq.control.Snapshot()
	if snap == nil {
		return nil
	}
	var fs []sched.Forcer
	for _, s := range snap.Schedulers {
		if f, ok := s.(sched.Forcer); ok && slices.Contains(f.Builders(), builder) {
			fs = append(fs, f)
		}
	}
	return fs
}

func (rq *request) force() (any, error) {
	m, form, err := rq.forceForm(rq.URL.Query().Get("scheduler"))
	if err != nil {
		return nil, err
	}
	q := rq.URL.Query()
	q.Del("scheduler")
	m.Fields = fill(form.Fields, func(f sched.Field) ([]string, bool) {
		for _, name := range []string{fullName(f), f.Name} {
			if v, ok := q[name]; ok && name != "" {
				return v, true
			}
		}
		return nil, false
	}, nil)
	return m, nil
}

// forceForm reads what both the empty and the refused form need.
func (rq *request) forceForm(scheduler string) (forceModel, sched.Form, error) {
	rq.page = "force"
	var m forceModel
	var row state.Scheduler
	var chosen sched.Forcer
	err := rq.view(func(tx state.ReadTx) error {
		b, err := rq.named(rq.PathValue("builder"))
		if err != nil {
			return err
		}
		m.Builder, m.BuilderURL, m.builderID = b.Name, builderURL(b.Name), b.ID
		s := &rq.shell
		s.Section, s.Heading = "/builders", "Force "+b.Name
		s.Crumbs = []link{{"Builders", "/builders"}, {b.Name, m.BuilderURL}, {"Force", ""}}
		s.Live = nil // what is typed must stay
		forms := rq.forms(b.Name)
		for _, f := range forms {
			name := f.Key().Name
			m.Forms = append(m.Forms, link{cmp.Or(f.Form().Label, name), m.BuilderURL + "/force?scheduler=" + url.QueryEscape(name)})
			if chosen == nil && (scheduler == "" || scheduler == name) {
				chosen = f
			}
		}
		if len(forms) == 0 {
			return missing{what: "No force scheduler starts builder " + quoted(b.Name) + ". Add a schedulers.ForceScheduler that names it to c['schedulers'].",
				near: []link{{b.Name, m.BuilderURL}}}
		}
		if chosen == nil {
			return missing{what: "Builder " + quoted(b.Name) + " has no force scheduler " + quoted(scheduler) + ".", near: m.Forms}
		}
		row, err = state.One(tx.Schedulers(state.Where("name", chosen.Key().Name)))
		if errors.Is(err, state.ErrNotFound) {
			row.Enabled, err = true, nil
		}
		return err
	})
	if err != nil {
		return m, sched.Form{}, err
	}
	form := chosen.Form()
	m.Scheduler, m.Label, m.Enabled = chosen.Key().Name, cmp.Or(form.Label, chosen.Key().Name), row.Enabled
	m.Button = cmp.Or(form.ButtonName, "Force build")
	if c := rq.control.Snapshot().Builder(m.Builder); c != nil {
		m.Workers = c.Workers
		if c.Factory != nil {
			for _, s := range c.Factory.Steps {
				m.Steps = append(m.Steps, stepTitle(s))
			}
		}
	}
	return m, form, nil
}

// stepTitle is the name of a step where the configuration says it, else its class.
func stepTitle(s config.Step) string {
	if step, ok := s.(run.Step); ok {
		if name, plain := step.Common().Name.Plain(); plain && name != "" {
			return name
		}
	}
	return s.Type()
}

func (rq *request) submitForce() (any, error) {
	m, form, err := rq.forceForm(rq.PostFormValue("scheduler"))
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	collect(form.Fields, rq.PostForm, fields)
	got, err := rq.control.Force(rq.Context(), m.Scheduler, m.builderID, fields, rq.user())
	if err == nil {
		return nil, see(submittedURL(got.Requests))
	}
	var wrong *sched.FieldErrors
	if !errors.As(err, &wrong) {
		return nil, err
	}
	rq.status = http.StatusUnprocessableEntity
	left := map[string]string{}
	for name, text := range wrong.Fields {
		left[name] = text
	}
	m.Fields = fill(form.Fields, func(f sched.Field) ([]string, bool) {
		v, ok := rq.PostForm[fullName(f)]
		// What a form does not send is off or empty, not its default.
		return v, ok || f.Type == "bool" || f.Multiple
	}, left)
	for name, text := range left {
		m.Error = strings.TrimSpace(m.Error + " " + name + ": " + text)
	}
	if m.Error == "" {
		focusFirst(m.Fields)
	}
	return m, nil
}

func fullName(f sched.Field) string {
	if f.FullName != nil {
		return *f.FullName
	}
	return ""
}

// collect reads what was filled in, as the JSON of the REST API would have it.
func collect(fields []sched.Field, form url.Values, into map[string]any) {
	for _, f := range fields {
		name := fullName(f)
		switch {
		case f.Type == "nested" || len(f.Fields) > 0:
			collect(f.Fields, form, into)
		case name == "" || f.Type == "fixed" && !form.Has(name):
		case f.Type == "bool":
			into[name] = form.Has(name)
		case f.Multiple:
			list := []any{}
			for _, v := range form[name] {
				list = append(list, v)
			}
			into[name] = list
		case form.Has(name):
			into[name] = strings.ReplaceAll(form.Get(name), "\r\n", "\n")
		}
	}
}

// fill makes the fields of the page. given returns what is filled in already; errs
// are taken out as they find their field.
func fill(fields []sched.Field, given func(sched.Field) ([]string, bool), errs map[string]string) []formField {
	out := make([]formField, 0, len(fields))
	for _, f := range fields {
		name := fullName(f)
		ff := formField{
			Name: name, ID: "f-" + name, Label: cmp.Or(f.Label, f.Name, name), Type: f.Type, Choices: f.Choices,
			Multiple: f.Multiple, Strict: f.Strict == nil || *f.Strict, Required: f.Required, Tooltip: f.Tooltip, Hide: f.Hide,
			Layout: f.Layout, Error: errs[name], Size: 30, Rows: 4,
		}
		delete(errs, name)
		if f.Regex != nil {
			ff.Pattern = *f.Regex
		}
		if f.MaxSize != nil {
			ff.MaxSize = *f.MaxSize
		}
		if f.Size != nil && *f.Size > 0 {
			ff.Size = min(*f.Size, 120)
		}
		if f.Rows != nil && *f.Rows > 0 {
			ff.Rows = min(*f.Rows, 40)
		}
		if len(f.Fields) > 0 || f.Type == "nested" {
			ff.Type, ff.Fields = "nested", fill(f.Fields, given, errs)
			if f.Label == "" {
				ff.Label = "" // a group that only lays out
			}
		}
		ff.setValue(f, given)
		out = append(out, ff)
	}
	return out
}

func (ff *formField) setValue(f sched.Field, given func(sched.Field) ([]string, bool)) {
	if v, ok := given(f); ok && f.Type != "fixed" {
		ff.Values = v
		if len(v) > 0 {
			ff.Value = v[len(v)-1]
		}
		ff.Checked = f.Type == "bool" && len(v) > 0 && truth(ff.Value)
		return
	}
	switch d := f.Default.(type) {
	case nil:
	case bool:
		ff.Checked, ff.Value = d, strconv.FormatBool(d)
	case []any:
		for _, v := range d {
			ff.Values = append(ff.Values, jsonText(v))
		}
	case []string:
		ff.Values = d
	case string:
		ff.Value, ff.Values = d, []string{d}
	default:
		ff.Value = fmt.Sprint(d)
	}
}

func truth(s string) bool {
	switch strings.ToLower(s) {
	case "", "0", "false", "off", "no":
		return false
	}
	return true
}

// focusFirst marks the first field with an error, in the order of the page.
func focusFirst(fields []formField) bool {
	for i := range fields {
		if fields[i].Error != "" {
			fields[i].Focus = true
			return true
		}
		if focusFirst(fields[i].Fields) {
			return true
		}
	}
	return false
}
