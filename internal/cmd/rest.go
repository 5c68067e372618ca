package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/user"
	"strings"
	"time"

	"buildstar/engine/sched"
)

const (
	restWait = 10 * time.Second // for an answer of a master
	maxREST  = 8 << 20          // bytes of one
)

// urlHelp describes --url of the commands that talk to a running master.
const urlHelp = "address of the master's page (default: of the one that runs on DIR)"

// rest is the REST API of a running master: its address, without a slash at the end.
type rest string

// findREST returns the API at a page's address, or, if that is empty, of the master that
// runs on a basedir.
func findREST(url, dir string) (rest, error) {
	if url == "" {
		r, err := findRunning(dir)
		if err != nil {
			return "", err
		}
		if r.URL == "" {
			return "", fmt.Errorf("the master on %s has no web server: c['www'] is not set", dir)
		}
		url = r.URL
	}
	return rest(strings.TrimSuffix(url, "/") + "/api/v2"), nil
}

// get reads a resource; the text of an error answer becomes the error.
func (m rest) get(ctx context.Context, path string) ([]byte, error) {
	return m.do(ctx, http.MethodGet, path, nil)
}

// call calls a JSON-RPC method.
func (m rest) call(ctx context.Context, path, method string, params any) error {
	_, err := m.ask(ctx, path, method, params)
	return err
}

// ask is call, and returns the whole answer.
func (m rest) ask(ctx context.Context, path, method string, params any) ([]byte, error) {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return nil, err
	}
	return m.do(ctx, http.MethodPost, path, body)
}

func (m rest) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, restWait)
	defer cancel()
	url := string(m) + "/" + path
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if u, err := user.Current(); err == nil {
		req.Header.Set(sched.ClaimHeader, u.Username)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxREST))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		if text := restError(answer); text != "" {
			return nil, fmt.Errorf("%s", text)
		}
		return nil, fmt.Errorf("%s: %s", url, res.Status)
	}
	return answer, nil
}

// restError returns what an answer says went wrong: {"error": text}, or that of JSON-RPC.
func restError(answer []byte) string {
	var e struct{ Error json.RawMessage }
	var text string
	var rpc struct{ Message string }
	switch {
	case json.Unmarshal(answer, &e) != nil:
	case json.Unmarshal(e.Error, &text) == nil:
	case json.Unmarshal(e.Error, &rpc) == nil:
		text = rpc.Message
	}
	return text
}
