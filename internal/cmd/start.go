package cmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"buildstar/config"
	"buildstar/engine"
	"buildstar/state/logfile"
	"buildstar/state/sqlite"
	"buildstar/web"
	"buildstar/web/ui"
)

var start = command{
	name: "start", args: "[DIR|FILE]",
	short: "run a master in the foreground",
	long: `DIR holds master.star (default: the current directory); FILE is another name for it,
and its folder is then the base directory. state.sqlite, logs/ and workers/ are made there.

When the page and the port for workers accept, one line "buildstar is running: ..." is
printed. Ctrl-C or SIGTERM stops: no new builds start; those on our own workers go on with the
next start, others are interrupted and queued again, at most 20 seconds; a second signal
stops at once.`,
	setup: func(fs *flag.FlagSet) func(context.Context, *app, []string) error {
		var log logFlags
		log.declare(fs)
		return func(ctx context.Context, a *app, args []string) error {
			arg, err := oneArg(args, ".")
			if err != nil {
				return err
			}
			basedir, file, err := locate(arg)
			if err != nil {
				return err
			}
			// The configuration comes first: one that is wrong leaves nothing behind.
			snapshot, err := a.load(ctx, file)
			if err != nil {
				return a.report(err, file)
			}
			l, err := lockBasedir(basedir)
			if err != nil {
				return err
			}
			defer l.release()
			logger := log.logger(a.err)
			slog.SetDefault(logger)
			return a.serve(ctx, service{basedir: basedir, file: file, snapshot: snapshot, lock: l, log: logger})
		}
	},
}

// service is a master about to run.
type service struct {
	basedir, file string
	snapshot      *config.Snapshot
	lock          *lock
	log           *slog.Logger
}

// serve runs a master until it is told to stop.
func (a *app) serve(ctx context.Context, s service) (err error) {
	store, err := sqlite.Open(ctx, filepath.Join(s.basedir, "state.sqlite"), sqlite.Options{Log: s.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	logs, err := logfile.Open(filepath.Join(s.basedir, "logs"), logfile.Options{Log: s.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()

	reloads := &outcomes{dir: s.basedir}
	if err := reloads.begin(); err != nil {
		return err
	}
	note := func(err error) {
		if err != nil {
			s.log.Error("tell what came of a reload", "error", err)
		}
	}
	first := true
	master := engine.New(engine.Options{
		Basedir: s.basedir,
		Version: a.Version,
		Name:    hostName() + ":" + s.basedir,
		Store:   store,
		Logs:    logs,
		Load: func(ctx context.Context) (*config.Snapshot, error) {
			if first {
				first = false
				return s.snapshot, nil
			}
			note(reloads.began())
			return a.reload(ctx, s.file, s.log)
		},
		Replay: func(ctx context.Context, inputs []config.Input, env map[string]*string) (*config.Snapshot, error) {
			return a.replay(ctx, s.file, inputs, env)
		},
		Reloaded: func(done engine.Reloaded, err error) { note(reloads.ended(done, err)) },
		Logger:   s.log,
	})
	page, err := ui.New(master, ui.Options{Version: a.Version})
	if err != nil {
		return err
	}
	card := &card{lock: s.lock, log: s.log}
	server := web.New(master, web.Options{UI: page, Log: s.log, Follow: master.Follow, Moved: card.moved})
	return a.runServices(ctx, s, master, server, card)
}

// runServices runs the master and, as long as it lives, its page: a page that is
// open sees the shutdown too.
func (a *app) runServices(ctx context.Context, s service, master *engine.Master, server *web.Server, card *card) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer a.onSignals(ctx, stop, master, s.log)()

	pageCtx, closePage := context.WithCancel(context.WithoutCancel(ctx))
	defer closePage()
	var wg sync.WaitGroup
	defer wg.Wait()
	var masterErr, pageErr error
	wg.Go(func() {
		defer closePage()
		masterErr = master.Run(ctx)
	})
	select {
	case <-master.Ready():
	case <-pageCtx.Done():
		wg.Wait()
		return masterErr
	}
	wg.Go(func() {
		if pageErr = server.Run(pageCtx); pageErr != nil {
			stop(pageErr)
		}
	})
	if err := a.announce(pageCtx, s, master, server, card); err != nil {
		stop(err)
	}
	wg.Wait()
	if pageErr != nil {
		return pageErr
	}
	return masterErr
}

// announce says that everything accepts: in the lock file, and to whoever started
// this.
func (a *app) announce(ctx context.Context, s service, master *engine.Master, server *web.Server, card *card) error {
	if s.snapshot.Master.WWW.Port != nil {
		select {
		case <-server.Ready():
		case <-ctx.Done():
			return nil
		}
	}
	err := card.show(running{PID: os.Getpid(), Version: a.Version, Config: s.file})
	if err != nil {
		return fmt.Errorf("write %s: %w", lockName, err)
	}
	details := []string{fmt.Sprint("pid ", os.Getpid())}
	for _, addr := range master.WorkerAddrs() {
		details = append(details, "workers on "+listenAddress(addr))
	}
	where := server.URL()
	if where == "" {
		where = "without a page"
	}
	fmt.Fprintf(a.out, "buildstar is running: %s (%s)\n", where, strings.Join(details, ", "))
	return nil
}

// listenAddress shows an address that listens on all interfaces as such.
func listenAddress(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok && t.IP.IsUnspecified() {
		return fmt.Sprintf("port %d of all interfaces", t.Port)
	}
	return a.String()
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// onSignals stops at the first SIGTERM or SIGINT, hurries at the second, and reloads
// at SIGHUP. It returns what ends the watching.
func (a *app) onSignals(ctx context.Context, stop context.CancelCauseFunc, master *engine.Master, log *slog.Logger) (end func()) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // a second signal comes after the first has ended ctx
	var wg sync.WaitGroup
	wg.Go(func() {
		for stopping := false; ; {
			select {
			case <-ctx.Done():
				return
			case s := <-signals:
				switch {
				case s == syscall.SIGHUP:
					log.Info("reloading", "signal", s.String())
					wg.Go(func() { master.Reload(ctx) }) // it logs what came of it
				case stopping:
					log.Warn("stopping at once")
					master.Hurry()
				default:
					stopping = true
					log.Info("stopping; again to stop at once", "signal", s.String())
					stop(context.Canceled)
				}
			}
		}
	})
	return func() {
		signal.Stop(signals)
		cancel()
		wg.Wait()
	}
}
