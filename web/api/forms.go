package api

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"

	"buildstar/engine/sched"
	"buildstar/state"
)

// Force schedulers are not rows of the store: they are what the configuration in
// force says (docs/ui-contract.md section 6).
var forms = &resource[sched.Form]{
	schema: schema{name: "forcescheduler", plural: "forceschedulers", key: "name", columns: []column{
		text("name"), text("label"), text("button_name"), list("builder_names"), boolean("enabled"), object("all_fields"),
	}},
	append: func(dst []byte, f *sched.Form, _ *world) []byte {
		row, err := json.Marshal(f)
		if err != nil {
			return append(dst, "null"...) // a default that JSON cannot say
		}
		return append(dst, row...)
	},
}

// formList serves force schedulers: those of a builder, or all.
func (a *API) formList(nested bool) func(r *http.Request) (answer, error) {
	return func(r *http.Request) (answer, error) {
		q, err := forms.parseQuery(r.URL.RawQuery)
		if err != nil {
			return answer{}, err
		}
		all, err := a.forms(r, nested)
		if err != nil {
			return answer{}, err
		}
		rows, total := selectForms(all, q)
		return answer{body: appendRows(nil, forms, nil, q.pick, rows, total)}, nil
	}
}

// formItem serves one force scheduler by name.
func (a *API) formItem(r *http.Request) (answer, error) {
	q, err := forms.parseItemQuery(r.URL.RawQuery)
	if err != nil {
		return answer{}, err
	}
	all, err := a.forms(r, false)
	if err != nil {
		return answer{}, err
	}
	var names []string
	for i := range all {
		if all[i].Name == r.PathValue("scheduler") {
			body := forms.appendPicked([]byte(`{"forceschedulers":[`), &all[i], nil, q.pick)
			return answer{body: append(body, `],"meta":{}}`...)}, nil
		}
		names = append(names, all[i].Name)
	}
	name := r.PathValue("scheduler")
	return answer{}, missing("force scheduler", name, suggest(name, names))
}

// forms returns the force schedulers in the order of the configuration. Whether one
// is enabled is what was last set, not what the configuration says.
func (a *API) forms(r *http.Request, nested bool) ([]sched.Form, error) {
	disabled := map[string]bool{}
	builder := ""
	err := a.store.View(r.Context(), func(tx state.ReadTx) error {
		if nested {
			b, err := a.findBuilder(tx, r)
			if err != nil {
				return err
			}
			builder = b.Name
		}
		rows, err := tx.Schedulers(state.Where("enabled", false))
		for i := range rows {
			disabled[rows[i].Name] = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []sched.Form
	for _, s := range a.control.Snapshot().Schedulers {
		f, ok := s.(sched.Forcer)
		if !ok || nested && !slices.Contains(s.Builders(), builder) {
			continue
		}
		form := f.Form()
		form.Enabled = form.Enabled && !disabled[form.Name]
		out = append(out, form)
	}
	return out, nil
}

// selectForms filters, orders and pages.
func selectForms(all []sched.Form, q query) (rows []sched.Form, total int64) {
	value := func(f *sched.Form, field string) any {
		switch field {
		case "label":
			return f.Label
		case "button_name":
			return f.ButtonName
		case "builder_names":
			return f.BuilderNames
		case "enabled":
			return f.Enabled
		}
		return f.Name
	}
	for i := range all {
		if !slices.ContainsFunc(q.where, func(w state.Filter) bool { return !holdsFor(w, value(&all[i], w.Field)) }) {
			rows = append(rows, all[i])
		}
	}
	slices.SortStableFunc(rows, func(x, y sched.Form) int {
		for _, o := range q.order {
			c, ok := order(value(&x, o.Field), value(&y, o.Field))
			if !ok && x.Enabled != y.Enabled { // the only field that is not a string
				c = cmp.Compare(map[bool]int{true: 1}[x.Enabled], map[bool]int{true: 1}[y.Enabled])
			}
			if o.Desc {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
	total = int64(len(rows))
	rows = rows[min(q.offset, total):]
	if q.limit >= 0 {
		rows = rows[:min(q.limit, int64(len(rows)))]
	}
	return rows, total
}
