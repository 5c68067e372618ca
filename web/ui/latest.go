package ui

import (
	"net/http"
	"net/url"

	"buildstar/config"
	"buildstar/state"
)

// latest redirects to the newest build of a builder, or to the newest one that was
// good or bad, keeping the rest of the path.
func latest(which string) handler {
	return func(rq *request) (any, error) {
		var to string
		err := rq.view(func(tx state.ReadTx) error {
			b, err := rq.named(rq.PathValue("builder"))
			if err != nil {
				return err
			}
			q := state.Where("builderid", b.ID)
			q.Order, q.Limit = []state.Order{{Field: "number", Desc: true}}, 1
			if results := map[string][]any{
				"latest-green": {int64(config.Success), int64(config.Warnings)},
				"latest-red":   {int64(config.Failure), int64(config.Exception)},
			}[which]; results != nil {
				q.Where = append(q.Where, state.Filter{Field: "complete", Op: state.Eq, Values: []any{true}},
					state.Filter{Field: "results", Op: state.Eq, Values: results})
			}
			builds, err := tx.Builds(q)
			if err != nil {
				return err
			}
			if len(builds) == 0 {
				return missing{what: "Builder " + quoted(b.Name) + " has no such build yet.", near: []link{{b.Name, builderURL(b.Name)}}}
			}
			to = buildURL(b.Name, builds[0].Number)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if step := rq.PathValue("step"); step != "" {
			to += "/" + url.PathEscape(step) + "/" + url.PathEscape(rq.PathValue("log"))
		}
		if rq.URL.RawQuery != "" {
			to += "?" + rq.URL.RawQuery
		}
		return nil, redirect{to, http.StatusFound}
	}
}
