package steps

import (
	"context"
	"errors"
	"fmt"
	"io"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
)

// Limits are the arguments of every transfer.
type Limits struct {
	// Maxsize is the most bytes that a file may have; one of exactly so many is whole.
	// What is larger fails and is not kept. None is no limit.
	Maxsize prop.Template[*int64] `star:"maxsize,optional" min:"0"`
	// Blocksize is how many bytes are sent at once.
	Blocksize prop.Template[int64] `star:"blocksize,optional" min:"1" max:"16777216"`
}

func limits(blocksize int64) Limits { return Limits{Blocksize: prop.Of(blocksize)} }

// Link is the address of what was uploaded.
type Link struct {
	// URL becomes a link of the step once the upload succeeded.
	URL prop.Template[*string] `star:"url,optional"`
	// URLText is the link's text; the default is the name of the file.
	URLText prop.Template[*string] `star:"urlText,optional"`
}

// transfer is one run of a transfer step.
type transfer struct {
	r         *run.Running
	log       *run.Log
	workdir   string
	maxsize   int64 // -1: no limit
	blocksize int64
	url, text *string
}

const maxBlock = 16 << 20

// newTransfer renders what transfers have in common. link is nil for downloads.
func newTransfer(ctx context.Context, r *run.Running, l *Limits, link *Link) (*transfer, error) {
	x := &renderer{ctx: ctx, r: r}
	t := &transfer{r: r, maxsize: -1, blocksize: render(x, "blocksize", l.Blocksize)}
	if most := render(x, "maxsize", l.Maxsize); most != nil {
		t.maxsize = *most
		if *most < 0 && x.err == nil {
			x.err = fmt.Errorf("render maxsize: want at least 0, got %d", *most)
		}
	}
	if x.err == nil && (t.blocksize < 1 || t.blocksize > maxBlock) {
		x.err = fmt.Errorf("render blocksize: want 1 to %d, got %d", maxBlock, t.blocksize)
	}
	if link != nil {
		t.url, t.text = render(x, "url", link.URL), render(x, "urlText", link.URLText)
	}
	if x.err == nil {
		t.workdir, x.err = r.Workdir(ctx)
	}
	return t, x.err
}

// begin opens the log, once the step has described itself.
func (t *transfer) begin() (err error) {
	t.log, err = t.r.AddLog("stdio", "s")
	return err
}

// link adds the link to what was uploaded.
func (t *transfer) link(name string) {
	if t.url == nil || *t.url == "" {
		return
	}
	if t.text != nil && *t.text != "" {
		name = *t.text
	}
	t.r.AddURL(name, *t.url)
}

// asked is the maxsize to ask a worker for. A stock one calls a file of exactly that
// size too big, so it is asked for one more and the master counts (docs/protocol.md
// 0.2 item 18).
func (t *transfer) asked() any {
	switch {
	case t.maxsize < 0 || t.maxsize+1 < 0:
		return nil
	case t.r.Worker().Ours:
		return t.maxsize
	}
	return t.maxsize + 1
}

// failed logs why the transfer failed.
func (t *transfer) failed(format string, args ...any) (config.Result, error) {
	return config.Failure, t.log.Write('e', fmt.Sprintf(format, args...))
}

// upload has the worker send something to w, and says how that went. An error is one
// of the master.
func (t *transfer) upload(ctx context.Context, command string, args map[string]any, w io.Writer, stamp func(a, m float64)) (config.Result, error) {
	to := &meter{to: w, most: t.maxsize}
	args["maxsize"], args["blocksize"] = t.asked(), t.blocksize
	result, err := t.r.Command(ctx, run.Command{Name: command, Args: args, Log: t.log, Upload: to, Stamp: stamp})
	if err != nil {
		return config.Exception, err
	}
	var bad *badArchive
	switch {
	case errors.Is(to.err, errTooBig):
		return t.failed("%s is larger than maxsize, %d bytes", args["path"], t.maxsize)
	case errors.As(to.err, &bad):
		return t.failed("%v", bad)
	case to.err != nil:
		return config.Exception, to.err
	}
	if err := said(t.log, result); err != nil {
		return config.Exception, err
	}
	return result.Result(), nil
}

// download sends what from reads to a file on the worker. It has size bytes.
func (t *transfer) download(ctx context.Context, path string, from io.Reader, size int64, mode *int64) (config.Result, error) {
	if t.maxsize >= 0 && size > t.maxsize {
		return t.failed("%d bytes are more than maxsize, %d bytes; nothing was sent", size, t.maxsize)
	}
	source := &gauge{from: from, most: t.maxsize}
	args := map[string]any{"path": path, "maxsize": nil, "blocksize": t.blocksize, "mode": nil}
	if mode != nil {
		args["mode"] = *mode
	}
	result, err := t.r.Command(ctx, run.Command{Name: "download_file", Args: args, Log: t.log, Download: source})
	if err != nil {
		return config.Exception, err
	}
	switch {
	case errors.Is(source.err, errTooBig):
		return t.failed("the file grew beyond maxsize, %d bytes", t.maxsize)
	case source.err != nil:
		return config.Exception, source.err
	}
	if err := said(t.log, result); err != nil {
		return config.Exception, err
	}
	return result.Result(), nil
}

var errTooBig = errors.New("it is larger than maxsize")

// meter counts what a worker sends, and keeps why it is refused.
type meter struct {
	to   io.Writer
	most int64 // -1: no limit
	sent int64
	err  error
}

func (m *meter) Write(p []byte) (n int, err error) {
	if m.most >= 0 && int64(len(p)) > m.most-m.sent {
		m.err = errTooBig
		return 0, m.err
	}
	n, m.err = m.to.Write(p)
	m.sent += int64(n)
	return n, m.err
}

// gauge counts what is sent to a worker, and keeps why that ended.
type gauge struct {
	from io.Reader
	most int64 // -1: no limit
	sent int64
	err  error
}

func (g *gauge) Read(p []byte) (int, error) {
	n, err := g.from.Read(p)
	g.sent += int64(n)
	if g.most >= 0 && g.sent > g.most {
		n, err = 0, errTooBig
	}
	if err != nil && err != io.EOF {
		g.err = err
	}
	return n, err
}

// checkMode returns a rendered mode, which may be absent.
func checkMode(x *renderer, t prop.Template[*int64]) *int64 {
	mode := render(x, "mode", t)
	if mode != nil && (*mode < 0 || *mode > 0o7777) && x.err == nil {
		x.err = fmt.Errorf("render mode: want 0 to 0o7777, got %#o", *mode)
	}
	return mode
}
