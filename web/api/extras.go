package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"buildstar/state"
)

// Answers that are no rows of a table.

// propertiesOf serves properties as one object: {"properties":[{name: [value,
// source]}],"meta":{}}.
func (a *API) propertiesOf(find func(tx state.ReadTx, r *http.Request) (state.Properties, error)) func(r *http.Request) (answer, error) {
	return func(r *http.Request) (answer, error) {
		p, err := a.readProperties(r, find)
		if err != nil {
			return answer{}, err
		}
		body := p.AppendJSON([]byte(`{"properties":[`))
		return answer{body: append(body, `],"meta":{}}`...)}, nil
	}
}

// propertyListOf serves properties as rows of name, value (JSON in a string) and
// source.
func (a *API) propertyListOf(find func(tx state.ReadTx, r *http.Request) (state.Properties, error)) func(r *http.Request) (answer, error) {
	return func(r *http.Request) (answer, error) {
		p, err := a.readProperties(r, find)
		if err != nil {
			return answer{}, err
		}
		body := []byte(`{"_properties":[`)
		for i, name := range sortedNames(p) {
			if i > 0 {
				body = append(body, ',')
			}
			body = state.AppendString(append(body, `{"name":`...), name)
			body = state.AppendString(append(body, `,"value":`...), string(state.AppendValue(nil, p[name].Value)))
			body = append(state.AppendString(append(body, `,"source":`...), p[name].Source), '}')
		}
		body = appendInt(append(body, `],"meta":{"total":`...), int64(len(p)))
		return answer{body: append(body, "}}"...)}, nil
	}
}

func (a *API) readProperties(r *http.Request, find func(tx state.ReadTx, r *http.Request) (state.Properties, error)) (p state.Properties, err error) {
	if err := wholeNumbers(r, nil); err != nil {
		return nil, err
	}
	err = a.store.View(r.Context(), func(tx state.ReadTx) error {
		p, err = find(tx, r)
		return err
	})
	return p, err
}

func (a *API) buildProperties(tx state.ReadTx, r *http.Request) (state.Properties, error) {
	b, err := a.findBuild(tx, r)
	if err != nil {
		return nil, err
	}
	return tx.BuildProperties(b.ID)
}

func buildsetProperties(tx state.ReadTx, r *http.Request) (state.Properties, error) {
	b, err := byID(buildsets, "buildset")(tx, r)
	return b.Properties, err
}

// requestProperties are the buildset's. Buildbot has no such path, though its own
// page asks for it (docs/ui-contract.md section 9).
func requestProperties(tx state.ReadTx, r *http.Request) (state.Properties, error) {
	req, err := byID(requests, "request")(tx, r)
	if err != nil {
		return nil, err
	}
	b, err := state.One(tx.Buildsets(state.Where("bsid", req.BuildsetID)))
	return b.Properties, err
}

// explain serves why a request waits (docs/requirements.md D1 pain 11).
func (a *API) explain(r *http.Request) (answer, error) {
	if err := wholeNumbers(r, nil); err != nil {
		return answer{}, err
	}
	n, ok := number(r, "request")
	if !ok {
		return answer{}, missing("buildrequest", r.PathValue("request"), "")
	}
	e, err := a.control.Explain(r.Context(), n)
	if errors.Is(err, state.ErrNotFound) {
		return answer{}, missing("buildrequest", r.PathValue("request"), "")
	}
	if err != nil {
		return answer{}, err
	}
	row, err := json.Marshal(e)
	if err != nil {
		return answer{}, err
	}
	body := append([]byte(`{"explanations":[`), row...)
	return answer{body: append(body, `],"meta":{}}`...)}, nil
}

// root lists the collections.
func (a *API) root(r *http.Request) (answer, error) {
	body := []byte(`{"rootlinks":[`)
	n := int64(0)
	for _, rt := range a.routes {
		if rt.method != http.MethodGet || !rt.top {
			continue
		}
		if n > 0 {
			body = append(body, ',')
		}
		n++
		body = append(state.AppendString(append(body, `{"name":`...), rt.path), '}')
	}
	body = appendInt(append(body, `],"meta":{"total":`...), n)
	return answer{body: append(body, "}}"...)}, nil
}

// spec describes the paths and the types of their rows, made from the declarations
// that answers are made from.
func (a *API) spec(r *http.Request) (answer, error) {
	type fieldSpec struct {
		Name     string `json:"name"`
		Type     kind   `json:"type"`
		Nullable bool   `json:"nullable"`
	}
	type typeSpec struct {
		Fields []fieldSpec `json:"fields"`
	}
	type pathSpec struct {
		Path   string   `json:"path"`
		Plural string   `json:"plural"`
		Type   string   `json:"type"`
		Spec   typeSpec `json:"type_spec"`
	}
	specs := []pathSpec{}
	for _, rt := range a.routes {
		if rt.schema == nil {
			continue
		}
		p := pathSpec{Path: rt.path, Plural: rt.schema.plural, Type: rt.schema.name}
		for _, c := range rt.schema.columns {
			p.Spec.Fields = append(p.Spec.Fields, fieldSpec{c.name, c.kind, c.nullable})
		}
		specs = append(specs, p)
	}
	body, err := json.Marshal(map[string]any{"specs": specs, "meta": map[string]int{"total": len(specs)}})
	return answer{body: body}, err
}
