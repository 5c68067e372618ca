package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// answer is what a GET returns: a body, or for what may be large, a function that
// writes it piece by piece.
type answer struct {
	body   []byte
	stream func(io.Writer) error
}

// form is how a client wants its answers.
type form struct {
	compact bool // Accept names application/json; otherwise indented text for people
	gzip    bool
}

func formOf(r *http.Request) form {
	return form{
		compact: strings.Contains(r.Header.Get("Accept"), "application/json"),
		gzip:    acceptsGzip(r.Header.Get("Accept-Encoding")),
	}
}

// acceptsGzip reports whether an Accept-Encoding header allows gzip.
func acceptsGzip(h string) bool {
	for part := range strings.SplitSeq(h, ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" || name == "*" {
			q = strings.TrimPrefix(strings.TrimSpace(q), "q=")
			return q != "0" && !(strings.HasPrefix(q, "0.") && strings.Trim(q[2:], "0") == "")
		}
	}
	return false
}

// Answers at least this long are compressed.
const worthGzip = 1024

// How long a client may take to read one piece of an answer.
const writeTimeout = time.Minute

func setHeaders(w http.ResponseWriter, f form) http.Header {
	h := w.Header()
	if f.compact {
		h["Content-Type"] = jsonType
	} else {
		h["Content-Type"] = plainType
	}
	h["Vary"] = varyBoth
	h["X-Content-Type-Options"] = nosniff
	h["Cache-Control"] = noCache
	return h
}

// Header values that never change, so that setting them allocates nothing.
var (
	jsonType  = []string{"application/json; charset=utf-8"}
	plainType = []string{"text/plain; charset=utf-8"}
	varyBoth  = []string{"Accept, Accept-Encoding"}
	nosniff   = []string{"nosniff"}
	noCache   = []string{"no-cache"}
	gzipped   = []string{"gzip"}
)

// rendered is a complete answer in one form.
type rendered struct {
	body   []byte
	length []string
	zipped bool
}

// render gives a body the form a client wants.
func render(body []byte, f form) rendered {
	if !f.compact {
		body = indent(body)
	}
	out := rendered{body: body}
	if f.gzip && len(body) >= worthGzip {
		out.body, out.zipped = compress(body), true
	}
	out.length = []string{strconv.Itoa(len(out.body))}
	return out
}

// write sends a complete answer.
func (a rendered) write(w http.ResponseWriter, f form) {
	h := setHeaders(w, f)
	if a.zipped {
		h["Content-Encoding"] = gzipped
	}
	h["Content-Length"] = a.length
	w.Write(a.body)
}

func indent(body []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(body) * 2)
	if err := json.Indent(&out, body, "", "  "); err != nil {
		return body // cannot happen: we wrote it
	}
	out.WriteByte('\n')
	return out.Bytes()
}

var gzipWriters = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	return z
}}

func compress(body []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(body)/4 + 64)
	z := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(z)
	z.Reset(&out)
	z.Write(body)
	z.Close()
	return out.Bytes()
}

// writeStream sends an answer piece by piece. If it fails midway the connection is
// cut, so that nobody takes half an answer for a whole one.
func (a *API) writeStream(w http.ResponseWriter, r *http.Request, zip bool, stream func(io.Writer) error) {
	out := &pacedWriter{w: w, control: http.NewResponseController(w)}
	if r.Method == http.MethodHead {
		return
	}
	var err error
	if zip {
		w.Header()["Content-Encoding"] = gzipped
		z := gzipWriters.Get().(*gzip.Writer)
		z.Reset(out)
		if err = stream(z); err == nil {
			err = z.Close()
		}
		z.Reset(io.Discard)
		gzipWriters.Put(z)
	} else {
		err = stream(out)
	}
	if err == nil {
		return
	}
	if !out.begun {
		w.Header().Del("Content-Encoding")
		a.fail(w, r, err)
		return
	}
	if r.Context().Err() == nil && !out.failed {
		a.log.Warn("rest: answer broken off", "path", r.URL.Path, "error", err)
	}
	panic(http.ErrAbortHandler)
}

// pacedWriter gives each piece of a long answer its own deadline: a client may
// take long in all, but not stand still.
type pacedWriter struct {
	w             http.ResponseWriter
	control       *http.ResponseController
	begun, failed bool
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	p.begun = true
	p.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := p.w.Write(b)
	p.failed = p.failed || err != nil
	return n, err
}
