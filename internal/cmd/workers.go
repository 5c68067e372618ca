package cmd

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"buildstar/state"
)

var workersCommand = command{
	name: "workers", args: "[list | pause NAME | unpause NAME | stop NAME | kill NAME] [DIR]",
	short: "list the workers, or pause, unpause, stop or kill one",
	long: `pause    it takes no new builds; those that run go on
unpause  it takes builds again, also if it was in quarantine
stop     it takes no new builds; once those that run are over its process exits
kill     its builds are interrupted, and built again; its process exits now`,
	setup: func(fs *flag.FlagSet) func(context.Context, *app, []string) error {
		asJSON := fs.Bool("json", false, "print the list as JSON")
		reason := fs.String("reason", "", "why: shown on the page and kept")
		address := fs.String("url", "", urlHelp)
		return func(ctx context.Context, a *app, args []string) error {
			verb := "list"
			if len(args) > 0 && slices.Contains([]string{"list", "pause", "unpause", "stop", "kill"}, args[0]) {
				verb, args = args[0], args[1:]
			}
			name := ""
			if verb != "list" {
				if len(args) == 0 {
					return usageError{"which worker? Give its NAME: workers " + verb + " NAME"}
				}
				name, args = args[0], args[1:]
			}
			dir, err := oneArg(args, ".")
			if err != nil {
				return err
			}
			m, err := findREST(*address, dir)
			if err != nil {
				return err
			}
			if verb == "list" {
				return a.listWorkers(ctx, m, *asJSON)
			}
			return m.call(ctx, "workers/"+url.PathEscape(name), verb, map[string]any{"reason": *reason})
		}
	},
}

// listedWorker is a worker as REST shows it.
type listedWorker struct {
	ID          int64          `json:"workerid"`
	Name        string         `json:"name"`
	Connected   []any          `json:"connected_to"`
	ChangedAt   state.Time     `json:"changed_at"`
	Paused      bool           `json:"paused"`
	PauseReason string         `json:"pause_reason"`
	PausedBy    string         `json:"paused_by"`
	Graceful    bool           `json:"graceful"`
	GracefulWhy string         `json:"graceful_reason"`
	GracefulBy  string         `json:"graceful_by"`
	Until       state.Time     `json:"quarantine_until"`
	Cause       string         `json:"quarantine_cause"`
	Info        map[string]any `json:"workerinfo"`
}

func (a *app) listWorkers(ctx context.Context, m rest, asJSON bool) error {
	body, err := m.get(ctx, "masters/1/workers?order=name")
	if err != nil {
		return err
	}
	var rows struct {
		Workers []json.RawMessage `json:"workers"`
	}
	if err := json.Unmarshal(body, &rows); err != nil {
		return fmt.Errorf("read the master's answer: %w", err)
	}
	if asJSON {
		_, err := fmt.Fprintf(a.out, "[%s]\n", joinRaw(rows.Workers))
		return err
	}
	building, err := m.building(ctx)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "WORKER\tCONNECTED\tBUILDING\tPAUSED\tSTOPPING\tQUARANTINE\tVERSION")
	for _, row := range rows.Workers {
		var w listedWorker
		if err := json.Unmarshal(row, &w); err != nil {
			return fmt.Errorf("read the master's answer: %w", err)
		}
		version, _ := w.Info["version"].(string)
		fmt.Fprintln(t, strings.Join([]string{
			w.Name, w.connected(), strconv.Itoa(building[w.ID]), mark(w.Paused, w.PausedBy, w.PauseReason),
			mark(w.Graceful, w.GracefulBy, w.GracefulWhy), w.quarantine(), oneLine(version),
		}, "\t"))
	}
	return t.Flush()
}

// building counts the builds that run on each worker.
func (m rest) building(ctx context.Context) (map[int64]int, error) {
	body, err := m.get(ctx, "builds?complete=false")
	if err != nil {
		return nil, err
	}
	var rows struct {
		Builds []struct {
			Worker int64 `json:"workerid"`
		} `json:"builds"`
	}
	if err := json.Unmarshal(body, &rows); err != nil {
		return nil, fmt.Errorf("read the master's answer: %w", err)
	}
	n := map[int64]int{}
	for _, b := range rows.Builds {
		n[b.Worker]++
	}
	return n, nil
}

func joinRaw(rows []json.RawMessage) string {
	var parts []string
	for _, r := range rows {
		parts = append(parts, string(r))
	}
	return strings.Join(parts, ",\n")
}

func (w *listedWorker) connected() string {
	word := "no"
	if len(w.Connected) > 0 {
		word = "yes"
	}
	if w.ChangedAt == 0 {
		return "never"
	}
	return word + ", since " + w.ChangedAt.Time().Format(time.DateTime)
}

func (w *listedWorker) quarantine() string {
	if w.Until == 0 {
		return "-"
	}
	return "until " + w.Until.Time().Format(time.TimeOnly) + ": " + oneLine(w.Cause)
}

// mark is one of the switches of a worker: who set it, and why.
func mark(on bool, by, why string) string {
	if !on {
		return "-"
	}
	text := "by " + by
	if by == "" {
		text = "yes"
	}
	if why != "" {
		text += ": " + why
	}
	return oneLine(text)
}

// oneLine keeps what others wrote from breaking the table or driving the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
