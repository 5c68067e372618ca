package docker

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"buildstar/latent"
)

// An engine is one Docker engine. This file and images.go are the only ones that know the
// client library.
type engine struct{ api *client.Client }

// connect makes a client; it reads the files of t, and dials when there is something to ask.
func connect(host, version string, t TLS, basedir string) (*engine, error) {
	secure := t.On
	if rest, ok := strings.CutPrefix(host, "https://"); ok {
		host, secure = "tcp://"+rest, true
	}
	transport := &http.Transport{IdleConnTimeout: 30 * time.Second}
	if secure && strings.HasPrefix(host, "tcp://") {
		var err error
		if transport.TLSClientConfig, err = t.config(basedir); err != nil {
			return nil, err
		}
	}
	opts := []client.Opt{client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}), client.WithHost(host)}
	if version == "" || version == "auto" {
		opts = append(opts, client.WithAPIVersionNegotiation())
	} else {
		opts = append(opts, client.WithVersion(version))
	}
	api, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, fmt.Errorf("use engine %s: %w", host, err)
	}
	return &engine{api}, nil
}

// config reads the files.
func (t TLS) config(basedir string) (*tls.Config, error) {
	below := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(basedir, path)
	}
	c := &tls.Config{InsecureSkipVerify: t.NoVerify}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(below(t.Cert), below(t.Key))
		if err != nil {
			return nil, fmt.Errorf("read tls client_cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if t.CACert != "" {
		data, err := os.ReadFile(below(t.CACert))
		if err != nil {
			return nil, fmt.Errorf("read tls ca_cert: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("read tls ca_cert: no certificate in %s", t.CACert)
		}
	}
	return c, nil
}

// blame makes an error the build's fault if the engine says that what it was asked for is
// wrong, and not that it failed (docs/requirements.md A9.6, B5).
func blame(err error) error {
	if err == nil {
		return nil
	}
	if errdefs.IsInvalidArgument(err) || errdefs.IsNotFound(err) || strings.Contains(err.Error(), "operating system does not match") {
		return latent.Cannotf("%w", err)
	}
	return err
}

// creation is what a container is made of.
type creation struct {
	name, image, hostname string
	command, env          []string
	volumes               []string
	hostconfig            map[string]any
	labels                map[string]string
}

// grace is how long the answer to a create is waited for after the start was given up. An
// engine may go on with a create that nobody waits for, and Stop would not see it yet.
const grace = 5 * time.Second

// create makes a container.
func (e *engine) create(ctx context.Context, c creation) (id string, err error) {
	ctx, cancel := lasting(ctx, grace)
	defer cancel()
	host, err := hostConfig(c.hostconfig)
	if err != nil {
		return "", latent.Cannotf("hostconfig: %w", err)
	}
	host.Binds = c.volumes
	if host.Init == nil {
		yes := true
		host.Init = &yes
	}
	made, err := e.api.ContainerCreate(ctx, &container.Config{
		Image: c.image, Hostname: c.hostname, Cmd: c.command, Env: c.env, Labels: c.labels,
	}, host, nil, nil, c.name)
	if err != nil {
		return "", blame(fmt.Errorf("create container %s: %w", c.name, err))
	}
	return made.ID, nil
}

// lasting returns a context that is cancelled a while after ctx.
func lasting(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() {
		stop()
		cancel()
	}
}

// hostConfig reads fields of the API.
func hostConfig(fields map[string]any) (*container.HostConfig, error) {
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	var host container.HostConfig
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&host); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return &host, nil
}

// checkField reports whether the API takes a value for a field.
func checkField(field string, v any) error {
	_, err := hostConfig(map[string]any{field: v})
	return err
}

// start starts a container.
func (e *engine) start(ctx context.Context, id string) error {
	if err := e.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return blame(fmt.Errorf("start container %s: %w", short(id), err))
	}
	return nil
}

// condition is how a container is.
type condition struct {
	gone, ended bool
	text        string // why it ended
}

// condition asks how a container is.
func (e *engine) condition(ctx context.Context, id string) (condition, error) {
	c, err := e.api.ContainerInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return condition{gone: true}, nil
	}
	if err != nil {
		return condition{}, fmt.Errorf("look at container %s: %w", short(id), err)
	}
	s := c.State
	if s == nil || s.Status != container.StateExited && s.Status != container.StateDead {
		return condition{}, nil
	}
	why := fmt.Sprintf("exited with status %d", s.ExitCode)
	if s.OOMKilled {
		why += ", out of memory"
	}
	if s.Error != "" {
		why += ": " + s.Error
	}
	return condition{ended: true, text: why}, nil
}

// output copies what a container printed, the last lines of it or (follow) all that is to
// come until it ends.
func (e *engine) output(ctx context.Context, id string, w io.Writer, last int, follow bool) error {
	tail := "all"
	if last > 0 {
		tail = strconv.Itoa(last)
	}
	out, err := e.api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: tail, Follow: follow})
	if err != nil {
		return fmt.Errorf("read the output of container %s: %w", short(id), err)
	}
	defer out.Close()
	_, err = stdcopy.StdCopy(w, w, out)
	return err
}

// stop asks a container to end, and kills it after a while.
func (e *engine) stop(ctx context.Context, id string, patience time.Duration) error {
	seconds := int(patience.Seconds())
	err := e.api.ContainerStop(ctx, id, container.StopOptions{Timeout: &seconds})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("stop container %s: %w", short(id), err)
	}
	return nil
}

// remove kills and removes a container with its volumes, and returns once it is gone. An
// engine that is removing it already says so, and not when it is done; podman fails to kill
// one that ends just then.
func (e *engine) remove(ctx context.Context, id string) error {
	for {
		err := e.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if errdefs.IsNotFound(err) {
			return nil
		}
		if err != nil && !errdefs.IsConflict(err) && !strings.Contains(err.Error(), "container state improper") {
			return fmt.Errorf("remove container %s: %w", short(id), err)
		}
		if err == nil {
			if c, err := e.condition(ctx, id); err != nil || c.gone {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove container %s: %w", short(id), ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// listed is a container of a list.
type listed struct {
	id     string
	labels map[string]string
}

// list returns the containers that have all labels, or the name if that is not "".
func (e *engine) list(ctx context.Context, labels map[string]string, name string) ([]listed, error) {
	f := filters.NewArgs()
	for k, v := range labels {
		f.Add("label", k+"="+v)
	}
	if name != "" {
		f.Add("name", "^/?"+name+"$") // Docker looks in "/name", podman in "name"
	}
	found, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: f})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var out []listed
	for _, c := range found {
		out = append(out, listed{c.ID, c.Labels})
	}
	return out, nil
}

// about is what an engine says of itself.
type about struct {
	name string // and version
	root string // where it keeps images and containers
}

func (e *engine) about(ctx context.Context) (a about, err error) {
	v, err := e.api.ServerVersion(ctx)
	if err != nil {
		return a, err
	}
	info, err := e.api.Info(ctx)
	if err != nil {
		return a, err
	}
	a.name, a.root = "Docker "+v.Version, info.DockerRootDir
	for _, c := range v.Components {
		if c.Name == "Podman Engine" {
			a.name = "podman " + c.Version
		}
	}
	a.name += ", API " + v.APIVersion
	return a, nil
}

func (e *engine) close() { e.api.Close() }

// short is how people know a container.
func short(id string) string { return id[:min(len(id), 12)] }
