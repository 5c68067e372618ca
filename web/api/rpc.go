package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"buildstar/engine/change"
	"buildstar/engine/sched"
	"buildstar/state"
)

// JSON-RPC 2.0 over POST (docs/requirements.md C10, docs/ui-contract.md section 5). Neither
// batches nor positional parameters nor notifications.

const (
	codeParse   = -32700
	codeInvalid = -32600 // also: forbidden, no such path, not possible now
	codeMethod  = -32601
	codeParams  = -32602
	codeFailed  = -32603

	maxBody      = 1 << 20
	maxForceBody = 10 << 20
	bodyTimeout  = 30 * time.Second
)

// rpcError is an error with the code and status that a client expects.
type rpcError struct {
	code, status int
	text         string
}

func (e *rpcError) Error() string { return e.text }

func invalid(format string, args ...any) error {
	return &rpcError{codeInvalid, http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func badParams(format string, args ...any) error {
	return &rpcError{codeParams, http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// call is one JSON-RPC request.
type call struct {
	Version *string         `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  *string         `json:"method"`
	Params  json.RawMessage `json:"params"`
}

// method is what a path can be asked to do. do returns the result.
type method struct {
	action Action
	params []string // the parameters it knows; nil: any
	do     func(r *http.Request, p params) (any, error)
}

// rpc serves the methods of one path. The policy is asked as soon as the method is
// known; requests from other sites are refused before anything is read.
func (a *API) rpc(limit int64, methods map[string]method) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var c call
		result, err := a.dispatch(w, r, limit, methods, &c)
		if err != nil {
			a.failCall(w, r, &c, err)
			return
		}
		body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": c.ID, "result": result})
		if err != nil {
			a.failCall(w, r, &c, err)
			return
		}
		h := w.Header()
		h["Content-Type"] = jsonType
		h["X-Content-Type-Options"] = nosniff
		h.Set("Cache-Control", "no-store")
		w.Write(body)
	}
}

func (a *API) dispatch(w http.ResponseWriter, r *http.Request, limit int64, methods map[string]method, c *call) (any, error) {
	if err := CheckSite(r); err != nil {
		return nil, err
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, invalid("Content-Type must be application/json, not %q", clip(r.Header.Get("Content-Type")))
	}
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	http.NewResponseController(w).SetReadDeadline(time.Time{})
	if err := decodeCall(body, c); err != nil {
		return nil, err
	}
	m, ok := methods[*c.Method]
	if !ok {
		if err := a.allow(r, ActionUnknown); err != nil {
			return nil, err
		}
		return nil, noMethod(*c.Method, methods)
	}
	if err := a.allow(r, m.action); err != nil {
		return nil, err
	}
	p, err := decodeParams(c.Params, m.params)
	if err != nil {
		return nil, err
	}
	return m.do(r, p)
}

// decodeCall reads a request strictly: one object, known members, nothing after it.
func decodeCall(body []byte, c *call) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return &rpcError{codeParse, http.StatusBadRequest, fmt.Sprintf("not JSON: %v", err)}
		}
		return invalid("want one object with jsonrpc, method, id and params: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return &rpcError{codeParse, http.StatusBadRequest, "something follows the request"}
	}
	switch {
	case c.Version == nil || *c.Version != "2.0":
		return invalid(`jsonrpc must be "2.0"`)
	case c.Method == nil || *c.Method == "":
		return invalid("method is missing")
	case len(c.ID) == 0:
		return invalid("id is missing: every request gets an answer")
	case c.ID[0] == '{' || c.ID[0] == '[' || c.ID[0] == 't' || c.ID[0] == 'f':
		c.ID = nil
		return invalid("id must be a number, a string or null")
	}
	return nil
}

func noMethod(name string, methods map[string]method) error {
	var names []string
	for n := range methods {
		names = append(names, n)
	}
	return &rpcError{codeMethod, http.StatusNotImplemented, fmt.Sprintf("there is no method %q here%s", clip(name), suggest(name, names))}
}

// unknownControl answers a POST to a path that nothing can be asked of.
func (a *API) unknownControl(w http.ResponseWriter, r *http.Request) {
	a.failCall(w, r, &call{}, &rpcError{codeInvalid, http.StatusNotFound, fmt.Sprintf("nothing can be asked of %s", clip(r.URL.Path))})
}

// failCall answers a call with an error. The message about a form is an object, by
// field, as Buildbot's page wants it.
func (a *API) failCall(w http.ResponseWriter, r *http.Request, c *call, err error) {
	code, status := codeInvalid, statusOf(err)
	var message any = err.Error()
	var rpc *rpcError
	var fields *sched.FieldErrors
	var invalidChange *change.Invalid
	switch {
	case errors.As(err, &rpc):
		code, status = rpc.code, rpc.status
	case errors.As(err, &invalidChange):
		code = codeParams
	case errors.As(err, &fields):
		code, message = codeParams, fields.Fields
	case status == http.StatusServiceUnavailable:
		code = codeFailed
	case status == http.StatusInternalServerError:
		a.log.Error("rest: carry out a call", "path", r.URL.Path, "method", c.Method, "error", err)
		code, message = codeFailed, "internal error; the master's log says more"
	}
	if len(c.ID) == 0 {
		c.ID = json.RawMessage("null")
	}
	body, merr := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": c.ID, "error": map[string]any{"code": code, "message": message},
	})
	if merr != nil {
		body = []byte(`{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"internal error"}}`)
	}
	h := w.Header()
	h["Content-Type"] = jsonType
	h["X-Content-Type-Options"] = nosniff
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body)
}

// params are the parameters of a call.
type params map[string]any

// decodeParams reads parameters; whole numbers become int64.
func decodeParams(raw json.RawMessage, known []string) (params, error) {
	p := params{}
	if len(raw) == 0 || string(raw) == "null" {
		return p, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&p); err != nil {
		return nil, badParams("params must be an object")
	}
	for name, v := range p {
		p[name] = state.Plain(v)
		if known != nil && !contains(known, name) {
			return nil, badParams("unknown parameter %q%s", clip(name), suggest(name, known))
		}
	}
	return p, nil
}

// text returns an optional string.
func (p params) text(name string) (string, error) {
	switch v := p[name].(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	return "", badParams("%s must be a string", name)
}
