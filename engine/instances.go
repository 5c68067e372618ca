package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/engine/dist"
	"buildstar/engine/instance"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/latent"
	"buildstar/state"
)

// instancePatience is how long a shutdown waits for instances to be stopped. What is left
// then is in the ledger.
const instancePatience = 20 * time.Second

// recount is how often caps that count hours are looked at while one is reached.
const recount = time.Minute

// looks are the times between the first looks for instances that the ledger does not know, at
// the start of the master, and lookOften between later ones: what a killed master had just
// asked for may come late, and what may be one that is being started is left alone.
var looks = []time.Duration{5 * time.Second, time.Minute}

const lookOften = time.Hour

// instances are those of the latent workers (docs/requirements.md A8, A9).
type instances struct {
	m      *Master
	ledger *instance.Ledger // nil before begin
	env    latent.Env
	dirty  chan struct{} // the caps are to be counted anew; holds one
}

func newInstances(m *Master) *instances { return &instances{m: m, dirty: make(chan struct{}, 1)} }

// name finds the tag of this master, which is as old as its database.
func (x *instances) name(tx state.Tx) error {
	self := config.Key{Kind: "master", Name: "instances"}
	x.env.Master = ""
	found, err := tx.Recall(self, "tag", &x.env.Master)
	if err != nil || found {
		return err
	}
	x.env.Master = strings.ToLower(rand.Text())
	return tx.Remember(self, "tag", x.env.Master)
}

// begin makes the ledger, once the master has its name.
func (x *instances) begin() (err error) {
	x.env.Basedir, x.env.Secret = x.m.o.Basedir, x.m.secret
	if x.env.Binary, err = os.Executable(); err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	x.ledger = instance.New(instance.Options{
		Store: x.m.o.Store, Logger: x.m.log, Env: x.env, Changed: x.changed, Trouble: x.m.missing.trouble, Disconnect: x.disconnect,
		Backoff: x.m.o.StopBackoff,
	})
	return nil
}

// changed is told by the ledger how an instance is.
func (x *instances) changed(worker string, s instance.Status) {
	x.m.fleet.change(worker, func(mb *member) {
		mb.status.Instance = asInstance(s, mb.status.Instance.Full)
	})
	if s.State == latent.Down {
		x.m.fleet.drained(worker)
	}
	if s.State == latent.Stopping { // there may be mail about it
		x.m.missing.look()
	}
	select {
	case x.dirty <- struct{}{}:
	default:
	}
}

// status is what the distributor knows of a worker that is new to it.
func (x *instances) status(worker string) dist.Instance {
	s, _ := x.ledger.Status(worker)
	return asInstance(s, "")
}

func asInstance(s instance.Status, full string) dist.Instance {
	return dist.Instance{State: s.State, Since: s.Since, Failure: s.Failure, Outdated: s.Outdated, Full: full}
}

func (x *instances) disconnect(worker, why string) {
	if s := x.m.fleet.session(worker); s != nil && x.m.fleet.started(worker) {
		x.m.fleet.spawn(func() { s.Close(why) })
	}
}

// adopt takes over what the last master left, after the builds that go on are known.
func (x *instances) adopt(ctx context.Context, old *memories) error {
	var rows []state.Instance
	err := x.m.o.Store.View(ctx, func(tx state.ReadTx) (err error) {
		rows, err = tx.Instances(state.Where("gone_at", nil))
		return err
	})
	if err != nil {
		return fmt.Errorf("read the ledger of instances: %w", err)
	}
	kept := map[string]bool{}
	for _, row := range rows {
		var c instance.Config
		s, why := old.evaluated(ctx, row.Generation)
		if why == nil {
			if w := s.Worker(row.Worker); w != nil && w.Latent != nil {
				c = x.config(s, w, row.Generation)
			} else {
				why = fmt.Errorf("its configuration has no latent worker %q", row.Worker)
			}
		}
		x.m.log.Info("instance of the last run", "worker", row.Worker, "instance", row.ID, "handle", row.Handle, "state", row.State)
		x.m.builds.held(row.Worker, func(held []int64) {
			if len(held) > 0 {
				x.m.fleet.linger(row.Worker)
			}
			kept[row.Worker] = x.ledger.Adopt(row, c, held, why)
		})
	}
	x.m.builds.strand(kept)
	return nil
}

func (x *instances) config(s *config.Snapshot, w *config.Worker, generation int64) instance.Config {
	return instance.Config{Worker: w, Generation: generation, Return: s.Master.ResumeTimeout}
}

// configure makes the latent workers those of a configuration.
func (x *instances) configure(a *applied) {
	workers := map[string]instance.Config{}
	for _, w := range a.snapshot.Workers {
		if w.Latent != nil {
			workers[w.Name] = x.config(a.snapshot, w, a.generation)
		}
	}
	x.ledger.Configure(workers)
	select {
	case x.dirty <- struct{}{}:
	default:
	}
}

// run stops what the ledger does not know, and keeps count of the caps, until ctx ends. What
// a killed master had just asked for may come after the first look.
func (x *instances) run(ctx context.Context) {
	look := time.NewTimer(0)
	defer look.Stop()
	pauses := looks
	timer := time.NewTimer(recount)
	defer timer.Stop()
	for {
		select {
		case <-look.C:
			x.reap(ctx)
			if len(pauses) == 0 {
				pauses = []time.Duration{lookOften}
			}
			look.Reset(pauses[0])
			pauses = pauses[1:]
			continue
		case <-x.dirty:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		x.count(ctx)
		timer.Reset(recount)
	}
}

func (x *instances) reap(ctx context.Context) {
	if _, err := x.ledger.Reap(ctx); err != nil && ctx.Err() == nil {
		x.m.log.Warn("look for instances that the ledger does not know", "error", err)
	}
}

// count tells the distributor which caps are reached.
func (x *instances) count(ctx context.Context) {
	for _, w := range x.m.Snapshot().Workers {
		if w.Latent == nil || len(w.Latent.Caps) == 0 {
			continue
		}
		var full string
		err := x.m.o.Store.View(ctx, func(tx state.ReadTx) (err error) {
			full, err = instance.Full(tx, w.Latent.Caps, state.Now())
			return err
		})
		if err != nil {
			if ctx.Err() == nil {
				x.m.log.Warn("count instances", "worker", w.Name, "error", err)
			}
			return
		}
		x.m.fleet.change(w.Name, func(mb *member) { mb.status.Instance.Full = full })
	}
}

// InstanceOutlook implements Control.
func (m *Master) InstanceOutlook(worker string) instance.Outlook {
	return m.instances.ledger.Outlook(worker)
}

// Stray is an instance that a provider runs and the ledger does not know.
type Stray struct {
	Kind    string `json:"kind"`
	Handle  string `json:"handle"`
	Worker  string `json:"worker"`           // "": the provider does not say
	Attempt int64  `json:"instanceid"`       // 0: the provider does not say
	Unsure  bool   `json:"unsure,omitempty"` // it may be one that is being started, and is left alone
}

// StrayInstances implements Control.
func (m *Master) StrayInstances(ctx context.Context, stop bool, who sched.User) ([]Stray, error) {
	find := m.instances.ledger.Plan
	if stop {
		m.log.Info("instances that the ledger does not know are to be stopped", "by", who.String())
		find = m.instances.ledger.Reap
	}
	found, err := find(ctx)
	var strays []Stray
	for _, s := range found {
		strays = append(strays, Stray{s.Kind, s.Ref.Handle, s.Ref.Worker, s.Ref.Attempt, s.Unsure})
	}
	if err != nil {
		return nil, fmt.Errorf("look for stray instances: %w", err)
	}
	return strays, nil
}

// login says whether an instance may connect now.
func (x *instances) login(worker, password string) error {
	if err := x.ledger.Login(worker, password); err != nil {
		return fmt.Errorf("%w for latent worker %q: %w", conn.ErrBadPassword, worker, err)
	}
	return nil
}

// lease is one build's use of a latent worker.
type lease struct {
	x       *instances
	a       *active
	applied *applied
	worker  *config.Worker

	mu      sync.Mutex
	release func()
}

var _ run.Instances = (*lease)(nil)

// Substantiate implements run.Instances.
func (l *lease) Substantiate(ctx context.Context, n run.Needs) (got run.Substantiated, err error) {
	p, ok := l.worker.Latent.Backend.(latent.Params)
	if !ok {
		return got, &run.NoInstance{Reason: "its backend cannot start instances", Cannot: true}
	}
	for name, v := range n.Properties {
		if hasZeroByte(v) {
			return got, &run.NoInstance{Reason: fmt.Sprintf("property %q has a zero byte: no argument of an instance can have one", name), Cannot: true}
		}
	}
	rendering, cancel := context.WithTimeout(ctx, time.Minute)
	arguments, err := p.Render(rendering, n.Props)
	cancel()
	if err != nil {
		return got, &run.NoInstance{Reason: fmt.Sprintf("render the arguments of the instance: %v", err), Cannot: true}
	}
	s := l.applied.snapshot
	password, err := l.applied.password(l.worker)
	if err != nil {
		return got, &run.NoInstance{Reason: fmt.Sprintf("its password is not known: %v", err)}
	}
	w := instance.Want{
		Password: password,
		Config:   l.x.config(s, l.worker, l.applied.generation), BuildID: l.a.row.ID,
		Arguments: arguments, Properties: n.Properties, Phase: n.Phase, Log: n.Log,
	}
	if w.Host, w.Port, w.TLS, err = l.x.address(s, l.worker.Latent); err != nil {
		return got, &run.NoInstance{Reason: err.Error()}
	}
	info, release, err := l.x.ledger.Want(ctx, w)
	if err != nil {
		var no *instance.Refusal
		if errors.As(err, &no) {
			err = &run.NoInstance{Reason: no.Reason, Cannot: no.Cannot, Blameless: no.Blameless}
		}
		return got, err
	}
	l.mu.Lock()
	l.release = release
	l.mu.Unlock()
	l.x.m.builds.served(l.a)
	got.Info = info
	if got.Session = l.x.m.fleet.session(l.worker.Name); got.Session == nil {
		return got, &run.NoInstance{Reason: "its connection was lost at once"}
	}
	if life := got.Session.Info().Life; life != "" {
		got.Link, got.ResumeTimeout = link{l.x.m.fleet, l.worker.Name, life}, s.Master.ResumeTimeout
		l.x.m.builds.outlives(l.a, life)
	}
	return got, nil
}

// hasZeroByte reports whether a text in a value of a property has a zero byte. Backends mark
// with it where a secret is in their arguments, so nobody else may write one.
func hasZeroByte(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, "\x00")
	case []any:
		return slices.ContainsFunc(v, hasZeroByte)
	case map[string]any:
		for k, e := range v {
			if hasZeroByte(k) || hasZeroByte(e) {
				return true
			}
		}
	}
	return false
}

// end gives the worker back.
func (l *lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.release != nil {
		l.release()
	}
}

// address is where an instance finds this master.
func (x *instances) address(s *config.Snapshot, c *config.Latent) (host string, port int, tls bool, err error) {
	if len(s.Master.WorkerListen) == 0 {
		return "", 0, false, errors.New("c['protocols'] names no port that it could connect to")
	}
	listen := s.Master.WorkerListen[0]
	at := x.m.doors.addr(listen)
	if at == nil {
		return "", 0, false, errors.New("the master does not listen for workers")
	}
	host, port = "", at.Port
	if c.MasterFQDN != "" {
		h, p, err := latent.SplitMaster(c.MasterFQDN)
		if err != nil {
			return "", 0, false, fmt.Errorf("masterFQDN: %w", err)
		}
		if p != 0 {
			port = p
		}
		return h, port, listen.TLS != nil, nil
	}
	if at.IP.IsLoopback() {
		return at.IP.String(), port, listen.TLS != nil, nil
	}
	if !at.IP.IsUnspecified() {
		return at.IP.String(), port, listen.TLS != nil, nil
	}
	host, err = ownHost()
	return host, port, listen.TLS != nil, err
}

// ownHost is the name of this host if it resolves to one of its addresses, else its first
// address that is not loopback.
func ownHost() (string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("find the address of this host; give masterFQDN: %w", err)
	}
	own := map[string]bool{}
	first := ""
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLoopback() || n.IP.IsLinkLocalUnicast() {
			continue
		}
		own[n.IP.String()] = true
		if first == "" {
			first = n.IP.String()
		}
	}
	if name, err := os.Hostname(); err == nil {
		if ips, err := net.LookupHost(name); err == nil {
			for _, ip := range ips {
				if own[ip] {
					return name, nil
				}
			}
		}
	}
	if first == "" {
		return "", errors.New("this host has no address; give masterFQDN")
	}
	return first, nil
}

// close stops every instance but those whose builds go on with the next master.
func (x *instances) close(log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), instancePatience)
	defer cancel()
	if x.ledger == nil {
		return
	}
	if left := x.ledger.Close(ctx); len(left) > 0 {
		log.Warn("instances are left to the next start", "workers", left)
	}
}
