package steps

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// StringDownload is steps.StringDownload (docs/requirements.md C4).
var StringDownload = class("StringDownload", func() any {
	return &stringDownload{Base: base("StringDownload", "string_download"), Downloaded: Downloaded{Limits: limits(16 << 10)}}
})

// stringDownload writes a text to a file on the worker.
type stringDownload struct {
	Base
	// S is the text, in UTF-8.
	S prop.Template[string] `star:"s"`
	Downloaded
}

// Make makes the step.
func (s *stringDownload) Make(c *spec.Call) any {
	s.check(c)
	notEmpty(c, "workerdest", s.Workerdest)
	return s
}

// Run implements run.Step.
func (s *stringDownload) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	text, err := run.Render(ctx, r, "s", s.S)
	if err != nil {
		return config.Exception, err
	}
	return s.Downloaded.text(ctx, r, text)
}

// text writes a text to the file.
func (s *Downloaded) text(ctx context.Context, r *run.Running, text string) (config.Result, error) {
	d, err := s.begin(ctx, r)
	if err != nil {
		return config.Exception, err
	}
	return d.download(ctx, d.path, strings.NewReader(text), int64(len(text)), d.mode)
}

// JSONStringDownload is steps.JSONStringDownload (docs/requirements.md C4).
var JSONStringDownload = class("JSONStringDownload", func() any {
	return &jsonStringDownload{Base: base("JSONStringDownload", "json_download"), Downloaded: Downloaded{Limits: limits(16 << 10)}}
})

// jsonStringDownload writes a value to a file on the worker, as JSON.
type jsonStringDownload struct {
	Base
	// O is the value: anything that JSON can say.
	O prop.Template[any] `star:"o"`
	Downloaded
}

// Make makes the step.
func (s *jsonStringDownload) Make(c *spec.Call) any {
	s.check(c)
	notEmpty(c, "workerdest", s.Workerdest)
	return s
}

// Run implements run.Step.
func (s *jsonStringDownload) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	v, err := run.Render(ctx, r, "o", s.O)
	if err != nil {
		return config.Exception, err
	}
	text, err := asJSON(v)
	if err != nil {
		return config.Exception, fmt.Errorf("write o as JSON: %w", err)
	}
	return s.Downloaded.text(ctx, r, text)
}

func asJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// JSONPropertiesDownload is steps.JSONPropertiesDownload (docs/requirements.md C4).
var JSONPropertiesDownload = class("JSONPropertiesDownload", func() any {
	return &jsonPropertiesDownload{
		Base: base("JSONPropertiesDownload", "json_properties_download"), Downloaded: Downloaded{Limits: limits(16 << 10)},
	}
})

// jsonPropertiesDownload writes the properties and the source stamps of the build to a
// file on the worker: {"properties": {name: value}, "sourcestamps": [...]}.
type jsonPropertiesDownload struct {
	Base
	Downloaded
}

// Make makes the step.
func (s *jsonPropertiesDownload) Make(c *spec.Call) any {
	s.check(c)
	notEmpty(c, "workerdest", s.Workerdest)
	return s
}

// Run implements run.Step.
func (s *jsonPropertiesDownload) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	props := map[string]any{}
	for name, p := range r.All() {
		props[name] = p.Value
	}
	stamps := r.SourceStamps()
	text, err := asJSON(map[string]any{"properties": props, "sourcestamps": stamps})
	if err != nil {
		return config.Exception, fmt.Errorf("write the properties as JSON: %w", err)
	}
	return s.Downloaded.text(ctx, r, text)
}
