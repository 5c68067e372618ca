package script

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"buildstar/config/prop"
	"buildstar/state"
)

// web is ctx.http.
type web struct{}

func (web) TypeName() string         { return "http" }
func (web) AttributeNames() []string { return []string{"delete", "get", "post", "put", "request"} }

func (web) Attribute(name string) (any, bool) {
	switch name {
	case "get", "delete", "post", "put":
		return prop.Method(func(ctx context.Context, args []any, kwargs map[string]any) (any, error) {
			a, err := bind(name, args, kwargs, 1, "url", "body", "json", "headers", "timeout")
			if err != nil {
				return nil, err
			}
			return request(ctx, strings.ToUpper(name), a)
		}), true
	case "request":
		return prop.Method(func(ctx context.Context, args []any, kwargs map[string]any) (any, error) {
			a, err := bind(name, args, kwargs, 2, "method", "url", "body", "json", "headers", "timeout")
			if err != nil {
				return nil, err
			}
			method, err := prop.Convert[string](a["method"])
			if err != nil {
				return nil, fmt.Errorf("request: method: %w", err)
			}
			return request(ctx, method, a)
		}), true
	}
	return nil, false
}

// request asks a server. Its answer has status, body and headers, whatever the status is.
func request(ctx context.Context, method string, a map[string]any) (any, error) {
	url, err := prop.Convert[string](a["url"])
	if err != nil {
		return nil, fmt.Errorf("http: url: %w", err)
	}
	timeout := time.Minute
	if v := a["timeout"]; v != nil {
		if timeout, err = seconds(v); err != nil {
			return nil, fmt.Errorf("http: timeout: %w", err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%s %s: it took longer than %v", method, url, timeout))
	defer cancel()
	body := ""
	if v := a["body"]; v != nil {
		if body, err = prop.Convert[string](v); err != nil {
			return nil, fmt.Errorf("http: body: %w", err)
		}
	}
	if v := a["json"]; v != nil {
		body = string(state.AppendValue(nil, v))
	}
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	if a["json"] != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if v := a["headers"]; v != nil {
		headers, err := prop.Convert[map[string]string](v)
		if err != nil {
			return nil, fmt.Errorf("http: headers: %w", err)
		}
		for k, v := range headers {
			r.Header.Set(k, v)
		}
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("http: %w", err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxOutput))
	if err != nil {
		return nil, fmt.Errorf("http: read the answer of %s: %w", url, err)
	}
	headers := map[string]any{}
	for k := range answer.Header {
		headers[strings.ToLower(k)] = answer.Header.Get(k)
	}
	var parsed any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if decoder.Decode(&parsed) != nil {
		parsed = nil
	}
	return fields{"response", map[string]any{
		"status": int64(answer.StatusCode), "body": strings.ToValidUTF8(string(data), "\uFFFD"), "headers": headers, "json": state.Plain(parsed),
	}}, nil
}
