package docker

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"buildstar/latent"
)

// The labels of a container.
const (
	labelMaster  = "buildstar.master"
	labelWorker  = "buildstar.worker"
	labelAttempt = "buildstar.attempt"
)

// backend makes the containers of one worker.
type backend struct {
	params *Params
	env    latent.Env

	mu      sync.Mutex
	engines map[string]*engine // by what endpoint returns
	quit    context.CancelFunc // ends what follows output
	quits   context.Context
	wg      sync.WaitGroup
}

var (
	_ latent.Checker = (*backend)(nil)
	_ latent.Lister  = (*backend)(nil)
)

// Open returns the backend.
func (p *Params) Open(e latent.Env) (latent.Backend, error) {
	b := &backend{params: p, env: e, engines: make(map[string]*engine)}
	b.quits, b.quit = context.WithCancel(context.Background())
	return b, nil
}

// Close waits for what the backend still does.
func (b *backend) Close() error {
	b.quit()
	b.wg.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.engines {
		e.close()
	}
	return nil
}

// engine returns the engine at a host.
func (b *backend) engine(host string) (*engine, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.engines[host]; e != nil {
		return e, nil
	}
	e, err := connect(host, b.params.Version, b.params.TLS, b.env.Basedir)
	if err != nil {
		return nil, err
	}
	b.engines[host] = e
	return e, nil
}

// Start starts a container (docs/requirements.md B5).
func (b *backend) Start(ctx context.Context, in latent.Launch) (latent.Started, error) {
	w, err := read(in.Arguments)
	if err != nil {
		return latent.Started{}, latent.Cannotf("%w", err)
	}
	e, err := b.engine(w.host)
	if err != nil {
		return latent.Started{}, err
	}
	name := containerName(b.env.Master, in.Worker)
	if err := removeLeft(ctx, e, name, in.Log); err != nil {
		return latent.Started{}, err
	}
	image, err := b.provide(ctx, e, w, in)
	if err != nil {
		return latent.Started{}, err
	}
	id, err := e.create(ctx, creation{
		name: name, image: image, hostname: w.hostname, command: b.params.Command, env: environment(in), volumes: w.volumes,
		hostconfig: w.hostconfig, labels: b.labels(in.Ref),
	})
	if err != nil {
		return latent.Started{}, err
	}
	if err := e.start(ctx, id); err != nil {
		return latent.Started{}, err
	}
	if b.params.FollowStartupLogs {
		b.follow(e, id, in)
	}
	return latent.Started{Handle: handle(id, w.host), Info: []string{short(id), image}}, nil
}

// removeLeft removes what an earlier start left under the name.
func removeLeft(ctx context.Context, e *engine, name string, log func(string)) error {
	left, err := e.list(ctx, nil, name)
	if err != nil {
		return err
	}
	for _, c := range left {
		log(fmt.Sprintf("remove container %s, which an earlier start left\n", short(c.id)))
		if err := e.remove(ctx, c.id); err != nil {
			return err
		}
	}
	return nil
}

// containerName names the container of a worker.
func containerName(master, worker string) string {
	return "buildbot-" + strings.ReplaceAll(worker, "_", "-") + "-" + sum(master, 3)
}

func sum(s string, bytes int) string {
	h := sha1.Sum([]byte(s))
	return hex.EncodeToString(h[:bytes])
}

func (b *backend) labels(r latent.Ref) map[string]string {
	return map[string]string{labelMaster: b.env.Master, labelWorker: r.Worker, labelAttempt: strconv.FormatInt(r.Attempt, 10)}
}

// environment says to the worker in the container who it is and where its master is. Only
// our own worker knows wss; stock workers have no TLS with this protocol.
func environment(in latent.Launch) []string {
	host := in.Host
	if in.TLS {
		host = "wss://" + strings.TrimSuffix(net.JoinHostPort(host, ""), ":")
	}
	return []string{
		"BUILDMASTER=" + host, "BUILDMASTER_PORT=" + strconv.Itoa(in.Port), "BUILDMASTER_PROTOCOL=" + protocol,
		"WORKERNAME=" + in.Worker, "WORKERPASS=" + in.Password,
	}
}

// A handle is ID@HOST.
func handle(id, host string) string { return id + "@" + host }

// locate returns the engine that has an instance and the id of its container, "" if it may
// have no handle. There is no engine if the instance cannot exist.
func (b *backend) locate(r latent.Ref) (e *engine, id string, err error) {
	id, host := place(r)
	if host == "" {
		return nil, "", nil
	}
	e, err = b.engine(host)
	return e, id, err
}

// place is the id of the container of an instance, "" if it may have no handle, and its host,
// "" if Start did not get so far as to have one.
func place(r latent.Ref) (id, host string) {
	if id, host, ok := strings.Cut(r.Handle, "@"); ok {
		return id, host
	}
	w, err := read(r.Arguments)
	if err != nil {
		return "", ""
	}
	return "", w.host
}

// patience is how long a container that is asked to end may take.
const patience = 10 * time.Second

// Stop removes the container of an instance.
func (b *backend) Stop(ctx context.Context, in latent.Ref, fast bool) error {
	e, id, err := b.locate(in)
	if err != nil || e == nil {
		return err
	}
	ids := []listed{{id: id}}
	if id == "" {
		if ids, err = e.list(ctx, b.labels(in), ""); err != nil {
			return err
		}
	}
	for _, c := range ids {
		if !fast {
			if err := e.stop(ctx, c.id, patience); err != nil {
				return err
			}
		}
		if err := e.remove(ctx, c.id); err != nil {
			return err
		}
	}
	return nil
}

// lastLines is how much of its output the end of a container is explained with (B5).
const lastLines = 100

// Check reports a container that ended or is gone.
func (b *backend) Check(ctx context.Context, in latent.Ref) (good bool, message string, err error) {
	e, id, err := b.locate(in)
	if err != nil || id == "" {
		return err == nil, "", err
	}
	c, err := e.condition(ctx, id)
	switch {
	case err != nil:
		return false, "", err
	case c.gone:
		return false, fmt.Sprintf("container %s is gone", short(id)), nil
	case !c.ended:
		return true, "", nil
	}
	var out bytes.Buffer
	if err := e.output(ctx, id, &out, lastLines, false); err != nil {
		fmt.Fprintf(&out, "(%v)", err)
	}
	message = fmt.Sprintf("container %s %s", short(id), c.text)
	if out.Len() > 0 {
		message += "; its last lines:\n" + out.String()
	}
	return false, message, nil
}

// List returns the containers of this master at the engine of the worker, or, if docker_host
// depends on properties, at those of earlier builds.
func (b *backend) List(ctx context.Context) ([]latent.Ref, error) {
	hosts, err := b.hosts(ctx)
	if err != nil {
		return nil, err
	}
	var refs []latent.Ref
	var errs []error
	for _, host := range hosts {
		var found []listed
		e, err := b.engine(host)
		if err == nil {
			found, err = e.list(ctx, map[string]string{labelMaster: b.env.Master}, "")
		}
		errs = append(errs, err)
		for _, c := range found {
			attempt, _ := strconv.ParseInt(c.labels[labelAttempt], 10, 64) // 0 is unknown
			refs = append(refs, latent.Ref{Worker: c.labels[labelWorker], Attempt: attempt, Handle: handle(c.id, host)})
		}
	}
	return refs, errors.Join(errs...)
}

// hosts are those that containers of this master may be at.
func (b *backend) hosts(ctx context.Context) ([]string, error) {
	if v, plain := b.params.DockerHost.Plain(); plain {
		host, err := endpoint(v)
		return []string{host}, err
	}
	hosts := make(map[string]bool)
	if b.env.Instances != nil {
		earlier, err := b.env.Instances(ctx)
		if err != nil {
			return nil, fmt.Errorf("find the engines of earlier builds: %w", err)
		}
		for _, r := range earlier {
			if _, host := place(r); host != "" {
				hosts[host] = true
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for host := range b.engines {
		hosts[host] = true
	}
	return slices.Sorted(maps.Keys(hosts)), nil
}

// follow logs what a container prints until the start is settled.
func (b *backend) follow(e *engine, id string, in latent.Launch) {
	ctx, stop := context.WithCancel(b.quits)
	b.wg.Go(func() {
		defer stop()
		err := e.output(ctx, id, &lineWriter{in.Log, "container " + short(id) + ": "}, 0, true)
		if err != nil && ctx.Err() == nil {
			in.Log(err.Error() + "\n")
		}
	})
	b.wg.Go(func() {
		defer stop()
		select {
		case <-in.Settled:
		case <-ctx.Done():
		}
	})
}
