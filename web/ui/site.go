package ui

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed dist tmpl
var builtin embed.FS

// site is the part of the page that does not depend on the master: parsed
// templates and assets with their compressed forms. It never changes.
type site struct {
	templates map[string]*template.Template // by the name of the page
	files     map[string]asset              // by the name below /static/
	manifest  map[string]string             // "app.js" -> "app.XXXX.js"
}

type asset struct {
	contentType string
	body, gz    []byte
}

// loadSite reads dist and tmpl below dir.
func loadSite(dir fs.FS) (*site, error) {
	s := &site{templates: map[string]*template.Template{}, files: map[string]asset{}}
	if err := s.loadAssets(sub(dir, "dist")); err != nil {
		return nil, err
	}
	if err := s.loadTemplates(sub(dir, "tmpl")); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *site) loadAssets(dist fs.FS) error {
	data, err := fs.ReadFile(dist, "manifest.json")
	if err != nil {
		return fmt.Errorf("read the list of assets (go run ./web/ui/build makes it): %w", err)
	}
	if err := json.Unmarshal(data, &s.manifest); err != nil {
		return fmt.Errorf("read the list of assets: %w", err)
	}
	for _, name := range s.manifest {
		body, err := fs.ReadFile(dist, name)
		if err != nil {
			return fmt.Errorf("read an asset: %w", err)
		}
		s.add(name, body)
	}
	for state, colour := range iconColours {
		s.add("icon-"+state+".svg", icon(colour))
	}
	return nil
}

func (s *site) add(name string, body []byte) {
	types := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
	s.files[name] = asset{contentType: types[path.Ext(name)], body: body, gz: compress(body)}
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is valid
	_, err := w.Write(body)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a bytes.Buffer does not fail
	}
	return b.Bytes()
}

// loadTemplates makes one template per page: the layout, the parts and the page's
// own file, which defines "main".
func (s *site) loadTemplates(tmpl fs.FS) error {
	base, err := template.New("layout.html").Funcs(s.funcs()).ParseFS(tmpl, "layout.html", "part_*.html")
	if err != nil {
		return fmt.Errorf("parse the layout: %w", err)
	}
	names, err := fs.Glob(tmpl, "*.html")
	if err != nil {
		return err
	}
	for _, file := range names {
		if file == "layout.html" || strings.HasPrefix(file, "part_") {
			continue
		}
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(tmpl, file)
		}
		if err != nil {
			return fmt.Errorf("parse page %s: %w", file, err)
		}
		s.templates[strings.TrimSuffix(file, ".html")] = t
	}
	return nil
}

// static serves an asset. Names of scripts and styles carry a hash of their
// content, so a browser may keep them for ever.
func (p *pages) static(w http.ResponseWriter, r *http.Request) {
	s, err := p.site()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a, ok := s.files[r.PathValue("file")]
	if !ok {
		http.Error(w, "no such asset: reload the page", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := a.body
	if acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body = a.gz
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = w.Write(body) // the browser went away
}

func acceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" && strings.TrimSpace(params) != "q=0" {
			return true
		}
	}
	return false
}

// iconColours are the icons in the tab of the browser: how the thing on the page
// is. They are seen on light and on dark tabs.
var iconColours = map[string]string{
	"idle": "#57606a", "running": "#bf8700", "waiting": "#8c959f",
	"success": "#1a7f37", "warnings": "#bc4c00", "failure": "#cf222e", "skipped": "#1a60d0",
	"exception": "#8250df", "retry": "#6b3fb5", "cancelled": "#bf3989",
}

func icon(colour string) []byte {
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">`+
		`<path fill="%s" d="M8 .8l1.9 4.6 5 .4-3.8 3.2 1.2 4.9L8 11.3l-4.3 2.6 1.2-4.9L1.1 5.8l5-.4z"/></svg>`, colour)
}
