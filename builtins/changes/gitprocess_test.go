package changes

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Stopped, a process and what it started are gone when run returns.
func TestProcessStopped(t *testing.T) {
	for name, script := range map[string]string{
		"ends":    `sleep 1000 & echo $!; wait`,
		"refuses": `trap "" TERM; sh -c 'trap "" TERM; echo $$; while :; do sleep 0.1; done'; sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			fifo := filepath.Join(t.TempDir(), "alive") // open for writing in every process
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			left := make(chan error, 1)
			go func() {
				f, err := os.Open(fifo)
				if err == nil {
					_, err = io.Copy(io.Discard, f) // ends with the last process
					f.Close()
				}
				left <- err
			}()
			p := &process{words: []string{"sh", "-c", "exec 9>" + fifo + "; " + script}, out: func(r io.Reader) error {
				if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
					return err
				}
				cancel()
				return nil
			}}
			if err := p.run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
			if err := <-left; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestProcessErrors(t *testing.T) {
	sh := func(script string) *process { return &process{words: []string{"sh", "-c", script}} }
	err := sh(`printf 'Receiving objects:  50%% (1/2)\rReceiving objects: 100%% (2/2)\rfatal: no\n\nerror: why\n' >&2; exit 3`).run(t.Context())
	if err == nil || err.Error() != "exit status 3: fatal: no; error: why" {
		t.Errorf("got %v", err)
	}
	p := sh(`yes; true`) // who does not like what it reads ends it
	p.out = func(io.Reader) error { return io.ErrUnexpectedEOF }
	if err := p.run(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	p = sh(`echo a; sleep 1000`)
	p.silence = 10 * time.Millisecond
	if err := p.run(t.Context()); err == nil || !strings.Contains(err.Error(), "it printed nothing for 10ms") {
		t.Errorf("got %v", err)
	}
	if err := (&process{words: []string{"/no/such/program"}}).run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("GIT_DIR", "/elsewhere")
	t.Setenv("LC_ALL", "de_DE")
	t.Setenv("KEPT", "yes")
	env := "\n" + strings.Join(environment(map[string]string{"MORE": "x"}), "\n") + "\n"
	for _, want := range []string{"\nKEPT=yes\n", "\nMORE=x\n", "\nLC_ALL=C\n"} {
		if !strings.Contains(env, want) {
			t.Errorf("%q is missing in %s", want, env)
		}
	}
	if strings.Contains(env, "GIT_DIR=") || strings.Contains(env, "de_DE") {
		t.Errorf("got %s", env)
	}
}
