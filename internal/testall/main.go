// Testall is "make test": it installs what the tests need, runs every check and
// test of the repository, and ends with a table of the parts and their seconds. It
// goes on after a part that failed, and its exit status is 1 if one did.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"buildstar/internal/dockertest"
)

// part is one line of the table.
type part struct {
	name string
	run  func(context.Context) error
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parts := []part{
		{"needs", installNeeds},
		{"gofmt", gofmt},
		{"go vet", command("go", "vet", "./...")},
		{"staticcheck", command("go", "tool", "staticcheck", "./...")},
		{"go mod tidy", command("go", "mod", "tidy", "-diff")},
		{"page is built", command("go", "run", "./web/ui/build", "-check")},
		{"page is typed", command("npm", "run", "--silent", "check", "--prefix", browserDir)},
		{"static binary", staticBinary},
		{"go test -race", goTest},
		{"podman", podman},
		{"browser", browser},
	}
	for _, s := range slows {
		parts = append(parts, part{s.name, s.unlessPassed})
	}
	if only := os.Args[1:]; len(only) > 0 {
		for _, s := range slows {
			parts = append(parts, part{"test-" + s.name, s.always})
		}
		// EC2 is no slow suite: its server is ours. The name is for those who look for one.
		parts = append(parts, part{"test-ec2", command("go", "test", "-race", "-count=1", "./latent/ec2/...")})
		parts = selected(parts, only)
	}
	os.Exit(runAll(ctx, parts))
}

// selected returns the parts whose names begin with the arguments.
func selected(parts []part, only []string) (kept []part) {
	for _, o := range only {
		before := len(kept)
		for _, p := range parts {
			if strings.HasPrefix(p.name, o) {
				kept = append(kept, p)
			}
		}
		if len(kept) == before {
			kept = append(kept, part{o, func(context.Context) error { return errors.New("there is no such part") }})
		}
	}
	return kept
}

func runAll(ctx context.Context, parts []part) (status int) {
	type row struct {
		name, result string
		took         time.Duration
	}
	var rows []row
	for _, p := range parts {
		fmt.Printf("\n== %s\n", p.name)
		start := time.Now()
		result := "ok"
		if err := p.run(ctx); err != nil {
			fmt.Printf("%s: %v\n", p.name, err)
			result, status = "FAILED", 1
		}
		rows = append(rows, row{p.name, result, time.Since(start)})
		if ctx.Err() != nil || p.name == "needs" && status != 0 {
			status = 1
			break
		}
	}
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "part\tresult\tseconds\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%.1f\t\n", r.name, r.result, r.took.Seconds())
	}
	w.Flush()
	return status
}

// command is a part that is one command.
func command(name string, args ...string) func(context.Context) error {
	return func(ctx context.Context) error { return run(ctx, nil, name, args...) }
}

// run runs a command with its output shown, and kills all of it when ctx ends.
func run(ctx context.Context, env []string, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), env...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGTERM) }
	c.WaitDelay = 30 * time.Second
	return c.Run()
}

func gofmt(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "gofmt", "-l", ".").Output()
	if err != nil {
		return err
	}
	if len(out) > 0 {
		return fmt.Errorf("not formatted; run gofmt -w on\n%s", out)
	}
	return nil
}

// staticBinary builds what users run and proves that it needs no shared library.
func staticBinary(ctx context.Context) error {
	if err := buildBinary(ctx); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "ldd", binary()).CombinedOutput()
	if err == nil && !strings.Contains(string(out), "not a dynamic executable") {
		return fmt.Errorf("%s is not static:\n%s", binary(), out)
	}
	return run(ctx, nil, binary(), "version")
}

func binary() string { return filepath.Join(".cache", "buildstar") }

func buildBinary(ctx context.Context) error {
	return run(ctx, []string{"CGO_ENABLED=0"}, "go", "build", "-o", binary(), ".")
}

// goTest needs cgo only because the race detector does. All tests share one Docker engine.
func goTest(ctx context.Context) (err error) {
	engine, err := dockertest.Start()
	if err != nil {
		return fmt.Errorf("start a Docker engine: %w", err)
	}
	defer func() { err = errors.Join(err, engine.Stop()) }()
	env := []string{"CGO_ENABLED=1", dockertest.Variable + "=" + engine.String()}
	// Tests of whole masters mostly wait: twice as many at a time as there are cores.
	return run(ctx, env, "go", "test", "-race", "-timeout", "20m", "-parallel", strconv.Itoa(max(4, 2*runtime.NumCPU())), "./...")
}

// podman runs what needs a Docker engine once more, with podman as that.
func podman(ctx context.Context) (err error) {
	engine, err := dockertest.StartPodman()
	if err != nil {
		return fmt.Errorf("start podman: %w", err)
	}
	defer func() { err = errors.Join(err, engine.Stop()) }()
	env := []string{"CGO_ENABLED=1", dockertest.Variable + "=" + engine.String()}
	// Go's cache of results does not see which engine it was.
	return errors.Join(run(ctx, env, "go", "test", "-race", "-count=1", "-timeout", "10m", "./latent/docker"),
		run(ctx, env, "go", "test", "-race", "-count=1", "-timeout", "10m", "-run", "^TestDocker(Example|StockWorker)$", "./internal/e2e"))
}

func browser(ctx context.Context) error {
	if err := buildBinary(ctx); err != nil {
		return err
	}
	return run(ctx, nil, "node", filepath.Join(browserDir, "run.mjs"), "--binary", binary())
}
