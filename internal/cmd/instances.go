package cmd

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"buildstar/state"
)

var instancesCommand = command{
	name: "instances", args: "[DIR]",
	short: "list the instances of latent workers, or stop those nobody knows",
	long: `The list is the ledger: what was started, and is not known to be gone. --plan asks
the providers too, and lists what they run for this master that the ledger does not
have; --reap stops that.`,
	setup: func(fs *flag.FlagSet) func(context.Context, *app, []string) error {
		plan := fs.Bool("plan", false, "list what runs and is not in the ledger")
		reap := fs.Bool("reap", false, "stop what runs and is not in the ledger")
		all := fs.Bool("all", false, "list those that are gone, too")
		asJSON := fs.Bool("json", false, "print the list as JSON")
		address := fs.String("url", "", urlHelp)
		return func(ctx context.Context, a *app, args []string) error {
			dir, err := oneArg(args, ".")
			if err != nil {
				return err
			}
			m, err := findREST(*address, dir)
			if err != nil {
				return err
			}
			switch {
			case *reap:
				return a.strays(ctx, m, "reap", *asJSON)
			case *plan:
				return a.strays(ctx, m, "plan", *asJSON)
			}
			return a.listInstances(ctx, m, *all, *asJSON)
		}
	},
}

// listedInstance is an instance as REST shows it.
type listedInstance struct {
	ID        int64      `json:"instanceid"`
	Worker    string     `json:"worker"`
	Kind      string     `json:"kind"`
	State     string     `json:"state"`
	Handle    string     `json:"handle"`
	BuildID   int64      `json:"buildid"`
	CreatedAt state.Time `json:"created_at"`
	GoneAt    state.Time `json:"gone_at"`
	Failures  int64      `json:"failures"`
	Failure   string     `json:"failure"`
	Unsure    bool       `json:"unsure"` // of one that the ledger does not know
}

func (a *app) listInstances(ctx context.Context, m rest, all, asJSON bool) error {
	path := "instances?order=instanceid"
	if !all {
		path += "&state__ne=gone"
	}
	body, err := m.get(ctx, path)
	if err != nil {
		return err
	}
	var rows struct {
		Instances []json.RawMessage `json:"instances"`
	}
	if err := json.Unmarshal(body, &rows); err != nil {
		return fmt.Errorf("read the master's answer: %w", err)
	}
	if asJSON {
		_, err := fmt.Fprintf(a.out, "[%s]\n", joinRaw(rows.Instances))
		return err
	}
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "INSTANCE\tWORKER\tKIND\tSTATE\tHANDLE\tSINCE\tTIME\tFOR BUILD\tWHAT IS WRONG")
	now := state.Now()
	for _, row := range rows.Instances {
		var i listedInstance
		if err := json.Unmarshal(row, &i); err != nil {
			return fmt.Errorf("read the master's answer: %w", err)
		}
		wrong := oneLine(i.Failure)
		if i.Failures > 0 {
			wrong = fmt.Sprintf("%d stops failed: %s", i.Failures, wrong)
		}
		used := state.Instance{CreatedAt: i.CreatedAt, GoneAt: i.GoneAt}.Seconds(now)
		fmt.Fprintln(t, strings.Join([]string{
			strconv.FormatInt(i.ID, 10), i.Worker, i.Kind, i.State, oneLine(i.Handle), i.CreatedAt.Time().Format(time.DateTime),
			(time.Duration(used) * time.Second).String(), strconv.FormatInt(i.BuildID, 10), wrong,
		}, "\t"))
	}
	return t.Flush()
}

// strays lists or stops what the ledger does not know.
func (a *app) strays(ctx context.Context, m rest, method string, asJSON bool) error {
	body, err := m.ask(ctx, "instances", method, map[string]any{})
	if err != nil {
		return err
	}
	var answer struct {
		Result []json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("read the master's answer: %w", err)
	}
	if asJSON {
		_, err := fmt.Fprintf(a.out, "[%s]\n", joinRaw(answer.Result))
		return err
	}
	done := map[string]string{"plan": "would be stopped", "reap": "stopped"}[method]
	for _, row := range answer.Result {
		var i listedInstance
		if err := json.Unmarshal(row, &i); err != nil {
			return fmt.Errorf("read the master's answer: %w", err)
		}
		if i.Unsure {
			fmt.Fprintf(a.out, "%s instance %s: may be one that is being started\n", i.Kind, oneLine(i.Handle))
			continue
		}
		fmt.Fprintf(a.out, "%s instance %s: %s\n", i.Kind, oneLine(i.Handle), done)
	}
	if len(answer.Result) == 0 {
		fmt.Fprintln(a.out, "The ledger knows all that runs.")
	}
	return nil
}
