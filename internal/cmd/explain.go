package cmd

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
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
		url := fs.String("url", "", urlHelp)
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
			m, err := findREST(*url, dir)
			if err != nil {
				return err
			}
			body, err := m.get(ctx, fmt.Sprintf("buildrequests/%d/explain", id))
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
