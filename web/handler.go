package web

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"buildstar/web/api"
)

// Handler returns the routes of the server: /api/v2 and /ws by rest, which asks the
// policy itself because what a POST wants stands in its body; the rest by the page.
func (s *Server) Handler(rest *api.API) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/", apiHeaders(rest))
	mux.Handle("/ws", rest)
	s.hooks(mux)
	mux.Handle("GET /robots.txt", s.guard(http.HandlerFunc(robots)))
	ui := s.opts.UI
	if ui == nil {
		ui = http.NotFoundHandler()
	}
	page := s.guard(pageHeaders(ui))
	mux.Handle("/", page)
	mux.Handle("/api", page) // not a redirect to /api/ that nobody guards
	return s.watch(mux)
}

// guard asks the policy before a page.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		action := api.ActionPage
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			action = api.ActionPagePost
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTimeout))
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		}
		if err := s.opts.Policy(r, action); err != nil {
			http.Error(w, "forbidden: "+err.Error(), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// pageCSP allows a page its own scripts, styles and connections, and nothing else
// (docs/ui.md section 3).
const pageCSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"font-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// pageHeaders sets the headers that a page's handler may make stricter.
func pageHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pageCSP)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// apiHeaders sets the headers of answers that are no pages: shown in a browser they
// can do nothing, and other sites cannot embed them.
func apiHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Content-Security-Policy"] = apiCSP
		h["X-Content-Type-Options"] = nosniff
		h["Cross-Origin-Resource-Policy"] = sameOrigin
		next.ServeHTTP(w, r)
	})
}

var (
	apiCSP     = []string{"default-src 'none'; frame-ancestors 'none'; sandbox"}
	nosniff    = []string{"nosniff"}
	sameOrigin = []string{"same-origin"}
)

// robots keeps crawlers from what is large and changes all the time (docs/requirements.md D1
// pain 25).
func robots(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "User-agent: *\nDisallow: /api/\nDisallow: /ws\n")
}

// watch stands before everything: it gives each answer its deadline, turns a panic
// into a 500 and a log line, and logs requests at debug.
func (s *Server) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		start := time.Now()
		http.NewResponseController(w).SetWriteDeadline(start.Add(answerTimeout))
		defer func() {
			if p := recover(); p != nil {
				s.panicked(rec, r, p)
			}
		}()
		next.ServeHTTP(rec, r)
		if s.log.Enabled(r.Context(), slog.LevelDebug) {
			s.log.Debug("request", "method", r.Method, "uri", r.RequestURI, "status", rec.status, "bytes", rec.bytes,
				"from", r.RemoteAddr, "took", time.Since(start))
		}
	})
}

// panicked answers for a handler that panicked. The connection is cut if the answer
// had begun.
func (s *Server) panicked(rec *recorder, r *http.Request, p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p) // a stream that broke off; net/http cuts the connection quietly
	}
	s.log.Error("request: handler panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	if rec.status != 0 {
		panic(http.ErrAbortHandler)
	}
	http.Error(rec, "internal error; the master's log says more", http.StatusInternalServerError)
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Hijack hands the connection to a websocket.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r.status = http.StatusSwitchingProtocols
	return http.NewResponseController(r.ResponseWriter).Hijack()
}
