package ui

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"buildstar/engine"
	"buildstar/state"
)

// handler makes the model of one page. It sets rq.shell and rq.page on the way.
type handler func(rq *request) (model any, err error)

// request is one page being made. It belongs to one goroutine.
type request struct {
	*http.Request
	*pages
	shell  Shell
	page   string // the template
	status int    // of the response; 0 is 200
	header http.Header
}

// redirect is the error of a handler that sends the reader elsewhere.
type redirect struct {
	to   string
	code int
}

func (r redirect) Error() string { return "see " + r.to }

// missing is the error for a thing that does not exist. It wraps
// state.ErrNotFound and says what the reader might have meant.
type missing struct {
	what string // a sentence: there is no builder "linx"
	near []link
}

type link struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

func (m missing) Error() string { return m.what }
func (m missing) Unwrap() error { return state.ErrNotFound }

// badRequest is the error for a question that makes no sense.
type badRequest string

func (b badRequest) Error() string { return string(b) }

// serve turns a handler into an http.Handler.
func (p *pages) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rq := &request{Request: r, pages: p, header: w.Header()}
		model, err := h(rq)
		p.answer(w, rq, model, err)
	})
}

// answer writes what a handler returned, or a page that says what went wrong.
func (p *pages) answer(w http.ResponseWriter, rq *request, model any, err error) {
	var to redirect
	if errors.As(err, &to) {
		http.Redirect(w, rq.Request, to.to, to.code)
		return
	}
	if err != nil {
		model = rq.failed(err)
	}
	if rq.status == 0 {
		rq.status = http.StatusOK
	}
	w.Header().Set("Vary", "Accept, Accept-Encoding, Cookie")
	w.Header().Set("Cache-Control", "no-cache")
	if prefersJSON(rq.Request) {
		p.writeJSON(w, rq, model)
		return
	}
	p.writeHTML(w, rq, model)
}

// failed makes the page of an error. The shell is read anew: the error may have
// come before it.
func (rq *request) failed(err error) any {
	var m missing
	var bad badRequest
	f := failureModel{Title: "Something went wrong", Text: err.Error()}
	switch {
	case errors.As(err, &m):
		rq.status, f.Title, f.Near = http.StatusNotFound, "Not found", m.near
	case errors.Is(err, state.ErrNotFound):
		rq.status, f.Title = http.StatusNotFound, "Not found"
	case errors.As(err, &bad):
		rq.status, f.Title = http.StatusBadRequest, "That cannot be read"
	case errors.Is(err, engine.ErrConflict):
		rq.status, f.Title = http.StatusConflict, "Not possible now"
	default:
		rq.status = http.StatusInternalServerError
		if rq.Context().Err() == nil {
			slog.Error("page failed", "path", rq.URL.Path, "err", err)
		}
	}
	if rq.page == "" || rq.shell.Site == "" {
		if verr := rq.view(func(state.ReadTx) error { return nil }); verr != nil {
			slog.Error("page failed", "path", rq.URL.Path, "err", verr)
		}
	}
	rq.page = "failure"
	rq.shell.Heading, rq.shell.Status, rq.shell.Live = f.Title, "idle", nil
	return f
}

// failureModel is the page of an error.
type failureModel struct {
	Title string `json:"title"`
	Text  string `json:"error"`
	Near  []link `json:"near,omitempty"`
}

// prefersJSON reports whether the reader asks for the model instead of the page.
func prefersJSON(r *http.Request) bool {
	a := r.Header.Get("Accept")
	return strings.Contains(a, "application/json") && !strings.Contains(a, "text/html")
}

func (p *pages) writeJSON(w http.ResponseWriter, rq *request, model any) {
	data, err := json.Marshal(withLists(model))
	if err != nil {
		slog.Error("page failed", "path", rq.URL.Path, "err", err)
		http.Error(w, "the model of this page has no JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(rq.status)
	_, _ = w.Write(append(data, '\n')) // the reader went away
}

// withLists returns the model with empty lists in place of nil ones: in JSON a list
// is a list.
func withLists(model any) any {
	v := reflect.New(reflect.TypeOf(model))
	v.Elem().Set(reflect.ValueOf(model))
	fillLists(v.Elem())
	return v.Interface()
}

func fillLists(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fillLists(v.Field(i))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fillLists(v.Elem())
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
			return
		}
		// The rows may be shared with other requests: they are copied before they change.
		if v.Type().Elem().Kind() == reflect.Struct {
			rows := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(rows, v)
			v.Set(rows)
			for i := range v.Len() {
				fillLists(v.Index(i))
			}
		}
	}
}

// rendered is what templates see: the frame of the page and its model.
type rendered struct {
	Shell
	Page string
	M    any
}

func (p *pages) writeHTML(w http.ResponseWriter, rq *request, model any) {
	var b bytes.Buffer
	s, err := p.site()
	if err == nil {
		t := s.templates[rq.page]
		if t == nil {
			err = fmt.Errorf("no template for page %q", rq.page)
		} else {
			err = t.Execute(&b, rendered{Shell: rq.shell, Page: rq.page, M: model})
		}
	}
	if err != nil {
		slog.Error("page failed", "path", rq.URL.Path, "err", err)
		http.Error(w, "this page cannot be shown; the log of the master says why", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	// A refresh that changes nothing costs no bytes. The frame's position and clock
	// differ every time and are not part of what is shown.
	if rq.status == http.StatusOK && rq.Header.Get("X-Buildstar-Live") != "" {
		tag := etag(b.Bytes())
		h.Set("ETag", tag)
		if rq.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if b.Len() > 2048 && acceptsGzip(rq.Request) {
		h.Set("Content-Encoding", "gzip")
		w.WriteHeader(rq.status)
		gz := gzips.Get().(*gzip.Writer)
		defer gzips.Put(gz)
		gz.Reset(w)
		if _, err := b.WriteTo(gz); err == nil {
			_ = gz.Close() // the reader went away
		}
		return
	}
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(rq.status)
	_, _ = b.WriteTo(w) // the reader went away
}

var gzips = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	return w
}}

// etag is the digest of a page without its position and clock.
func etag(page []byte) string {
	h := fnv.New64a()
	if before, rest, ok := bytes.Cut(page, []byte(`<meta name="buildstar"`)); ok {
		h.Write(before)
		if _, after, ok := bytes.Cut(rest, []byte(">")); ok {
			page = after
		}
	}
	h.Write(page)
	return fmt.Sprintf(`"%x"`, h.Sum64())
}
