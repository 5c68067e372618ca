package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/engine/dist"
	"buildstar/engine/run"
	"buildstar/state"
	"buildstar/worker"
)

// gracePeriod is how long running builds may take to be interrupted at shutdown.
const gracePeriod = 20 * time.Second

// Options are what a Master needs.
type Options struct {
	// Basedir holds workers/ of the local workers; absolute.
	Basedir string
	Version string
	// Name of the master, shown on the page; default: the host's name.
	Name  string
	Store state.Store
	Logs  state.LogStore
	// Load evaluates the configuration: Run calls it once, and every reload. Calls never
	// overlap.
	Load func(ctx context.Context) (*config.Snapshot, error)
	// Replay evaluates inputs of an earlier configuration again, the first of which is
	// master.star; env are the variables that it asked for. nil: builds that started with
	// another configuration than that of now do not outlive the master.
	Replay func(ctx context.Context, inputs []config.Input, env map[string]*string) (*config.Snapshot, error)
	// Reloaded is told what came of each reload, before whoever asked for it; nil: nobody
	// is told.
	Reloaded func(Reloaded, error)
	Logger   *slog.Logger // default slog.Default()
	// Backoff is how long a request waits after its n-th lost build; nil: 1, 2, 4 ... s.
	Backoff func(retries int64) time.Duration
	// Quarantine is how long a worker that misbehaved gets no builds; before is how often
	// it did since a build there went well. nil: 10, 20, 40 ... s, at most an hour.
	Quarantine func(before int64) time.Duration
	// ProbeDisk is how often a full disk is tried again; 0: every 3 s.
	ProbeDisk time.Duration
	// SourcePause is how long a change source that ended by itself waits before it runs
	// again; it doubles each time. 0: 1 s.
	SourcePause time.Duration
	// MailBackoff is how long a mail waits after its n-th failure, from 1; nil: a minute,
	// doubling to an hour.
	MailBackoff func(n int) time.Duration
	// StopBackoff is how long the n-th failed stop of an instance waits for the next; nil:
	// 1, 2, 4 ... s, at most 5 minutes.
	StopBackoff func(failures int64) time.Duration
	// Ping is how often a silent worker is asked for a sign of life; 0: every 30 s.
	Ping time.Duration
}

// Master is a running master. Run it once.
type Master struct {
	o   Options
	log *slog.Logger

	dist       *dist.Distributor
	locks      *run.Locks
	server     *conn.Server
	fleet      *fleet
	builds     *builds
	disk       *disk
	doors      *doors
	locals     *locals
	missing    *missing
	schedulers *schedulers
	sources    *sources
	instances  *instances
	fitting    *fitting

	epoch   int64
	kept    []state.Build // builds of the last run that may go on
	alive   state.Time    // the last sign of life of the last run
	current atomic.Pointer[applied]
	started state.Time
	ready   chan struct{}
	hard    context.Context // ends when running builds must not be waited for any longer
	hurry   context.CancelFunc
	living  context.Context // ends when the shutdown begins
	die     context.CancelFunc
	reloads reloads
	apply   sync.Mutex // one Apply at a time; also guards parts
	parts   []*Part

	mu       sync.Mutex
	problems error // of the newest reload
	stopping bool
}

var (
	_ Control   = (*Master)(nil)
	_ conn.Host = (*Master)(nil)
)

// New returns a master that does nothing before Run.
func New(o Options) *Master {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.ProbeDisk == 0 {
		o.ProbeDisk = 3 * time.Second
	}
	if o.MailBackoff == nil {
		o.MailBackoff = mailBackoff
	}
	if o.Quarantine == nil {
		o.Quarantine = quarantineTime
	}
	if o.SourcePause == 0 {
		o.SourcePause = time.Second
	}
	m := &Master{o: o, log: o.Logger, started: state.Now(), ready: make(chan struct{})}
	m.hard, m.hurry = context.WithCancel(context.Background())
	m.living, m.die = context.WithCancel(m.hard)
	m.fitting = newFitting(m)
	m.locks = run.NewLocks(func() { m.dist.LocksFreed() })
	m.dist = dist.New(dist.Options{Store: o.Store, Locks: m.locks, Logger: o.Logger, Start: m.start, Drained: m.drained, Backoff: o.Backoff, Fit: m.fitting.fit})
	m.fleet = newFleet(m)
	m.builds = newBuilds()
	m.disk = newDisk(m)
	m.doors = newDoors(m)
	m.locals = newLocals(m)
	m.missing = newMissing(m)
	m.schedulers = newSchedulers(m)
	m.sources = newSources(m)
	m.instances = newInstances(m)
	m.current.Store(&applied{snapshot: config.New(config.Snapshot{})})
	return m
}

// Ready is closed once the configuration is in force and the worker ports accept.
func (m *Master) Ready() <-chan struct{} { return m.ready }

// Hurry makes a shutdown wait for nothing: the second signal.
func (m *Master) Hurry() { m.hurry() }

// WorkerAddrs returns the addresses at which workers can connect.
func (m *Master) WorkerAddrs() []net.Addr { return m.doors.addrs() }

// Run brings the master up, keeps it until ctx ends, and takes it down again: no
// new builds; the running ones are left to workers that outlive the master, or
// interrupted and queued again, for at most 20 s.
// It returns an error if the master could not start or had to stop by itself. The
// Store and the Logs stay open.
func (m *Master) Run(ctx context.Context) error {
	defer m.hurry()
	if err := m.begin(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Services outlive ctx: a shutdown needs them until the builds are over.
	services, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var wg sync.WaitGroup
	var once sync.Once
	var cause error // why the master had to stop by itself
	failed := func(err error) {
		if err != nil {
			once.Do(func() { cause = err })
			cancel()
		}
	}
	wg.Go(func() { failed(m.dist.Run(services)) })
	wg.Go(func() { m.disk.run(services) })
	wg.Go(func() { m.missing.run(services) })
	wg.Go(func() { m.fleet.release(services) })
	wg.Go(func() { m.live(services) })

	if err := m.load(ctx); err != nil {
		failed(err)
	} else {
		close(m.ready)
		wg.Go(func() { m.instances.run(services) })
	}
	<-ctx.Done()
	m.shutdown()
	end()
	wg.Wait()
	return cause
}

// begin registers this master, and closes what an earlier one left open.
func (m *Master) begin(ctx context.Context) error {
	if m.o.Basedir != "" {
		if err := worker.CleanUp(m.o.Basedir); err != nil {
			m.log.Warn("processes of an earlier run of the master may be left", "error", err)
		}
	}
	m.mend(ctx)
	if err := m.reconcile(ctx); err != nil {
		return fmt.Errorf("close what the last run left open: %w", err)
	}
	if err := m.instances.begin(); err != nil {
		return err
	}
	m.server = conn.NewServer(m, conn.Options{Logger: m.log, Epoch: fmt.Sprint("s", m.epoch), PingInterval: m.o.Ping})
	return nil
}

func (m *Master) load(ctx context.Context) error {
	s, err := m.o.Load(ctx)
	if err != nil {
		return err
	}
	if err := m.revive(ctx, s); err != nil {
		return err
	}
	return m.Apply(ctx, s)
}

// Store, Logs and Snapshot implement Control.
func (m *Master) Store() state.Store   { return m.o.Store }
func (m *Master) Logs() state.LogStore { return m.o.Logs }

// Snapshot returns the configuration in force; before Ready it is empty.
func (m *Master) Snapshot() *config.Snapshot { return m.current.Load().snapshot }
