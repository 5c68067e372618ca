package cmd

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"buildstar/worker"
)

var workerCommand = command{
	name:  "worker",
	short: "run a worker that dials in to a master",
	long: `The password is the content of --password-file, or the environment variable
BUILDSTAR_PASSWORD; it is never an argument, because everybody on a machine can
read those. Without flags the variables of Buildbot's images are used: BUILDMASTER,
BUILDMASTER_PORT, WORKERNAME and WORKERPASS. The master may be a stock Buildbot
master that listens with msgpack_experimental_v7.

When the connection is lost, or cannot be made, it is tried again: after 2 s, later
after up to a minute. SIGTERM and Ctrl-C kill what runs and exit with 0. SIGHUP
asks the master for a graceful stop: the worker gets no more builds and exits once
those it has are over.`,
	setup: func(fs *flag.FlagSet) func(context.Context, *app, []string) error {
		var log logFlags
		log.declare(fs)
		master := fs.String("master", "", "address of the master: ws://HOST:PORT, or wss://HOST:PORT for TLS")
		name := fs.String("name", "", "name of this worker, as master.star has it")
		basedir := fs.String("basedir", "", "directory to build in; made if missing (default: ./NAME)")
		passwordFile := fs.String("password-file", "", "file that holds the password")
		orphans := fs.Duration("orphan-timeout", orphanTimeout, "how long commands go on while the master is away; 0 kills them at once")
		retries := fs.Int("maxretries", 0, "give up after this many failed attempts in a row (default: never)")
		caFile := fs.String("ca-file", "", "PEM file with the certificates to trust for wss:// (default: what the system trusts)")
		proxy := fs.String("proxy", "", "HTTP proxy to connect through: http://HOST:PORT (default: HTTPS_PROXY for wss://,\nHTTP_PROXY for ws://, except for what NO_PROXY lists)")
		graceful := fs.Bool("graceful", false, "the first SIGTERM or Ctrl-C is a graceful stop, as SIGHUP is")
		systemd := fs.Bool("systemd", false, "print a unit of systemd that runs the worker with these flags, and exit")
		return func(ctx context.Context, a *app, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Sprintf("unexpected argument %q", args[0])}
			}
			cfg := worker.Config{
				MasterURL:     masterURL(cmp.Or(*master, envMaster(a.getenv))),
				Name:          cmp.Or(*name, a.getenv("WORKERNAME")),
				Basedir:       *basedir,
				MaxRetries:    *retries,
				OrphanTimeout: *orphans,
				CAFile:        *caFile,
				Proxy:         *proxy,
				Version:       a.Version,
				Logger:        log.logger(a.err),
			}
			switch {
			case cfg.MasterURL == "":
				return usageError{"which master? Give --master ws://HOST:PORT"}
			case cfg.Name == "":
				return usageError{"which worker is this? Give --name NAME"}
			case strings.Contains(cfg.Proxy, "@"):
				return usageError{"everybody on this machine can read the password in --proxy: set HTTPS_PROXY instead"}
			case *systemd && *passwordFile == "":
				return usageError{"the unit needs --password-file FILE"}
			}
			cfg.Basedir = cmp.Or(cfg.Basedir, cfg.Name)
			if *systemd {
				text, err := unit(cfg, *passwordFile, *graceful)
				if err != nil {
					return err
				}
				_, err = io.WriteString(a.out, text)
				return err
			}
			password, err := a.password(*passwordFile)
			if err != nil {
				return err
			}
			cfg.Password = password
			ctx, leave, stop := leaveSignals(ctx, *graceful)
			defer stop()
			cfg.Leave = leave
			err = worker.Run(ctx, cfg)
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
	},
}

// leaveSignals returns a context that SIGTERM and Ctrl-C end, and a channel that SIGHUP
// closes; with graceful the first of the others does too. stop ends the listening.
func leaveSignals(ctx context.Context, graceful bool) (_ context.Context, leave <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	if !signal.Ignored(syscall.SIGHUP) { // nohup means it
		signal.Notify(signals, syscall.SIGHUP)
	}
	asked := make(chan struct{})
	go func() { // ends with ctx
		left := false
		for {
			select {
			case s := <-signals:
				switch {
				case s != syscall.SIGHUP && (left || !graceful):
					cancel()
				case !left:
					close(asked)
					left = true
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, asked, func() {
		signal.Stop(signals)
		cancel()
	}
}

// orphanTimeout is how long commands go on without a master unless a flag says otherwise.
const orphanTimeout = time.Hour

// envMaster returns the master that BUILDMASTER and BUILDMASTER_PORT name. BUILDMASTER may be
// a whole URL, such as a latent worker's ctx.master.
func envMaster(getenv func(string) string) string {
	host := getenv("BUILDMASTER")
	if host == "" {
		return ""
	}
	if _, rest, ok := strings.Cut(host, "://"); ok {
		if _, _, err := net.SplitHostPort(rest); err == nil {
			return host
		}
	} else if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]" // an IPv6 address
	}
	return host + ":" + cmp.Or(getenv("BUILDMASTER_PORT"), "9989")
}

// masterURL lets HOST:PORT stand for ws://HOST:PORT.
func masterURL(s string) string {
	if s == "" || strings.Contains(s, "://") {
		return s
	}
	return "ws://" + s
}

// password reads the password of a worker. One trailing newline is cut: editors add
// it.
func (a *app) password(file string) (string, error) {
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
	}
	if p := cmp.Or(a.getenv("BUILDSTAR_PASSWORD"), a.getenv("WORKERPASS")); p != "" {
		return p, nil
	}
	return "", usageError{"no password: give --password-file FILE, or set BUILDSTAR_PASSWORD"}
}
