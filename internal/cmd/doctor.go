package cmd

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"buildstar/config"
	"buildstar/engine/secret"
	"buildstar/latent"
)

// doctorPatience bounds the examination of one worker.
const doctorPatience = 2 * time.Minute

// examinations is how many workers are examined at a time.
const examinations = 8

var doctor = command{
	name: "doctor", args: "[DIR|FILE]",
	short: "examine what latent workers depend on: providers, credentials, images",
	long: `The configuration is evaluated, and then every provider that its latent workers use
is asked: is it reached, are the credentials good, is there what instances are made
of, is there room for them, are the clocks together. Nothing is started or changed,
and no master need run. The exit status is 1 if instances of a worker cannot start.`,
	setup: func(fs *flag.FlagSet) func(context.Context, *app, []string) error {
		asJSON := fs.Bool("json", false, "print the findings as a JSON list")
		return func(ctx context.Context, a *app, args []string) error {
			arg, err := oneArg(args, ".")
			if err != nil {
				return err
			}
			dir, file, err := locate(arg)
			if err != nil {
				return err
			}
			snapshot, err := a.load(ctx, file)
			if err != nil {
				return a.report(err, file)
			}
			patients, err := examine(ctx, dir, snapshot)
			if err != nil {
				return err
			}
			if *asJSON {
				e := json.NewEncoder(a.out)
				e.SetIndent("", "  ")
				err = e.Encode(patients)
			} else {
				printFindings(a.out, patients, isTerminal(a.out))
			}
			if err == nil && worst(patients) == latent.Ill {
				return errStatus(1)
			}
			return err
		}
	},
}

// A patient is workers of one kind that were found to be alike.
type patient struct {
	Workers  []string         `json:"workers"`
	Kind     string           `json:"kind"`
	Findings []latent.Finding `json:"findings"`
}

// examine examines all latent workers, several at a time.
func examine(ctx context.Context, dir string, s *config.Snapshot) ([]patient, error) {
	secrets, err := secret.Open(s.Master.Secrets, dir)
	if err != nil {
		return nil, err
	}
	env := latent.Env{Master: "doctor", Basedir: dir, Secret: secrets.Lookup}
	if env.Binary, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("find the program: %w", err)
	}
	var all []patient
	for _, w := range s.Workers {
		if w.Latent != nil {
			all = append(all, patient{Workers: []string{w.Name}, Kind: w.Latent.Backend.Kind()})
		}
	}
	var wg sync.WaitGroup
	room := make(chan struct{}, examinations)
	for i := range all {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			ctx, cancel := context.WithTimeout(ctx, doctorPatience)
			defer cancel()
			all[i].Findings = examineOne(ctx, env, s.Worker(all[i].Workers[0]))
		})
	}
	wg.Wait()
	return alike(all), ctx.Err()
}

func examineOne(ctx context.Context, env latent.Env, w *config.Worker) (found []latent.Finding) {
	report := func(f latent.Finding) { found = append(found, f) }
	if w.PasswordSecret != "" {
		_, err := env.Secret(ctx, w.PasswordSecret)
		report(latent.Examined("password", "its secret is there", err, ""))
	}
	p, ok := w.Latent.Backend.(latent.Params)
	if !ok {
		report(latent.Finding{Check: "backend", Health: latent.Ill, Text: "it cannot start instances"})
		return found
	}
	b, err := p.Open(env)
	if err != nil {
		report(latent.Examined("open the backend", "", err, ""))
		return found
	}
	if c, ok := b.(io.Closer); ok {
		defer c.Close()
	}
	d, ok := b.(latent.Doctor)
	if !ok {
		report(latent.Finding{Check: "provider", Text: "workers of this kind cannot be examined"})
		return found
	}
	d.Examine(ctx, report)
	return found
}

// alike puts workers with the same findings together.
func alike(all []patient) (out []patient) {
	for _, p := range all {
		i := slices.IndexFunc(out, func(o patient) bool { return o.Kind == p.Kind && slices.Equal(o.Findings, p.Findings) })
		if i < 0 {
			out = append(out, p)
			continue
		}
		out[i].Workers = append(out[i].Workers, p.Workers...)
	}
	return out
}

func worst(patients []patient) (h latent.Health) {
	for _, p := range patients {
		for _, f := range p.Findings {
			h = max(h, f.Health)
		}
	}
	return h
}

func printFindings(w io.Writer, patients []patient, colours bool) {
	if len(patients) == 0 {
		fmt.Fprintln(w, "There are no latent workers to examine.")
		return
	}
	colour := [...]string{latent.Fine: "32", latent.Doubtful: "33", latent.Ill: "31"}
	for i, p := range patients {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s (%s)\n", strings.Join(p.Workers, ", "), p.Kind)
		for _, f := range p.Findings {
			health := fmt.Sprintf("%-8s", f.Health)
			if colours {
				health = "\x1b[" + colour[f.Health] + "m" + health + "\x1b[0m"
			}
			fmt.Fprintf(w, "  %s  %s: %s\n", health, f.Check, oneLine(f.Text))
			if f.Fix != "" {
				fmt.Fprintf(w, "            %s\n", f.Fix)
			}
		}
	}
}
