package latent_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"buildstar/config/prop"
	"buildstar/latent"
)

// Params is what master.star says: the program to run, which may depend on the build.
type Params struct {
	Program prop.Template[string] `star:"program"`
}

func (*Params) Kind() string { return "process" }

// Varies tells that an instance may not serve every build.
func (p *Params) Varies() bool {
	_, plain := p.Program.Plain()
	return !plain
}

// Render makes what instances differ by.
func (p *Params) Render(ctx context.Context, props prop.Props) (latent.Arguments, error) {
	program, err := p.Program.Render(ctx, props)
	return latent.Arguments{"program": program}, err
}

func (p *Params) Open(latent.Env) (latent.Backend, error) { return processes{}, nil }

// processes starts a process for each instance. Its handle is the id of the process.
type processes struct{}

func (processes) Start(_ context.Context, in latent.Launch) (s latent.Started, err error) {
	program := in.Ref.Arguments["program"].(string)
	if program == "" {
		return s, latent.Cannotf("the build names no program")
	}
	cmd := exec.Command(program, "60") // it outlives the call
	cmd.Env = append(cmd.Environ(), "WORKERNAME="+in.Worker, "WORKERPASS="+in.Password, "BUILDMASTER="+in.URL())
	if err := cmd.Start(); err != nil {
		return s, err
	}
	go cmd.Wait()
	return latent.Started{Handle: strconv.Itoa(cmd.Process.Pid), Info: []string{program}}, nil
}

func (processes) Stop(ctx context.Context, in latent.Ref, _ bool) error {
	pid, err := strconv.Atoi(in.Handle)
	if err != nil {
		return nil // a start that failed leaves no process
	}
	for {
		if err := syscall.Kill(pid, syscall.SIGKILL); errors.Is(err, syscall.ESRCH) {
			return nil
		} else if err != nil {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// A backend is two types: Params, what master.star says, and Backend, what is done with it.
func Example() {
	ctx := context.Background()
	p := &Params{Program: prop.Of("sleep")}
	arguments, err := p.Render(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := p.Open(latent.Env{Master: "tag"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ref := latent.Ref{Worker: "w", Attempt: 1, Arguments: arguments}
	s, err := b.Start(ctx, latent.Launch{Ref: ref, Password: "secret", Host: "127.0.0.1", Port: 9989, Log: func(string) {}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("started", s.Info)
	ref.Handle = s.Handle
	fmt.Println("stopped", b.Stop(ctx, ref, false))
	_, err = b.Start(ctx, latent.Launch{Ref: latent.Ref{Worker: "w", Attempt: 2, Arguments: latent.Arguments{"program": ""}}})
	fmt.Println(err, errors.Is(err, latent.ErrCannotSubstantiate))
	// Output:
	// started [sleep]
	// stopped <nil>
	// the build names no program true
}
