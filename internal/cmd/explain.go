package cmd

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"buildstar/engine/dist"
)

var explain = command{
	name: "explain", args: "N [DIR]",
	short: "say why build request N is waiting",
	long: `The answer comes from the decision itself: for each worker the first thing that
keeps the request from it, since when, and what would end it.`,
	setup: func(fs *flag.FlagSet) func(context.Context, *app, []string) error {
		asJSON := fs.Bool("json", false, "print the answer as JSON")
		url := fs.String("url", "", "address of the master's page (default: of the one that runs on DIR)")
		return func(ctx context.Context, a *app, args []string) error {
			if len(args) == 0 {
				return usageError{"which build request? Its number is on the queue page"}
			}
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usageError{fmt.Sprintf("%q is no build request number", args[0])}
			}
			dir, err := oneArg(args[1:], ".")
			if err != nil {
				return err
			}
			if *url == "" {
				r, err := findRunning(dir)
				if err != nil {
					return err
				}
				if r.URL == "" {
					return fmt.Errorf("the master on %s has no web server: c['www'] is not set", dir)
				}
				*url = r.URL
			}
			body, err := get(ctx, strings.TrimSuffix(*url, "/")+fmt.Sprintf("/api/v2/buildrequests/%d/explain", id))
			if err != nil {
				return err
			}
			if *asJSON {
				_, err := fmt.Fprintln(a.out, strings.TrimSpace(string(body)))
				return err
			}
			var answer struct {
				Explanations []dist.Explanation `json:"explanations"`
			}
			if err := json.Unmarshal(body, &answer); err != nil || len(answer.Explanations) != 1 {
				return fmt.Errorf("the master's answer makes no sense: %.200s", body)
			}
			printExplanation(a.out, answer.Explanations[0])
			return nil
		}
	},
}

func printExplanation(w io.Writer, e dist.Explanation) {
	fmt.Fprintf(w, "request %d of builder %s: %s\n", e.RequestID, e.Builder, e.Summary)
	for _, r := range e.Reasons {
		fmt.Fprintf(w, "  - %s", r.Text)
		if r.Since != 0 {
			fmt.Fprintf(w, " (since %s)", r.Since.Time().Format(time.DateTime))
		}
		if r.Unblock != "" {
			fmt.Fprintf(w, "; until %s", r.Unblock)
		}
		fmt.Fprintln(w)
	}
}

// get reads a REST resource; the text of an error answer becomes the error.
func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		var e struct{ Error string }
		if json.Unmarshal(body, &e) == nil && e.Error != "" {
			return nil, fmt.Errorf("%s", e.Error)
		}
		return nil, fmt.Errorf("%s: %s", url, res.Status)
	}
	return body, nil
}
