package api

import (
	"context"
	"errors"
	"net/http"

	"buildstar/engine"
	"buildstar/engine/change"
	"buildstar/engine/sched"
	"buildstar/state"
)

// notFound is a 404 that says what is missing.
type notFound struct{ text string }

func (e *notFound) Error() string { return e.text }
func (e *notFound) Unwrap() error { return state.ErrNotFound }

// statusOf returns the HTTP status of an error (docs/requirements.md C10).
func statusOf(err error) int {
	var bad *badQuery
	var fields *sched.FieldErrors
	var invalid *change.Invalid
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &bad), errors.As(err, &invalid), errors.As(err, &fields), errors.Is(err, engine.ErrConflict):
		return http.StatusBadRequest
	case errors.As(err, &big):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errForbidden):
		return http.StatusForbidden
	case errors.Is(err, state.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, state.ErrFull), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// fail answers a GET with an error.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	text := err.Error()
	if status == http.StatusInternalServerError {
		if r.Context().Err() != nil {
			return // nobody is listening
		}
		a.log.Error("rest: answer a request", "path", r.URL.Path, "error", err)
		text = "internal error; the master's log says more"
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Disposition")
	w.WriteHeader(status)
	w.Write(append(state.AppendString([]byte(`{"error":`), text), '}', '\n'))
}
