// Package docker runs latent workers in Docker containers (docs/requirements.md A13, B5).
//
// A container has the name of its worker, so that there is one at most, and labels that say
// which master started it, for which worker and which attempt. The master removes it, never
// the engine by itself: why it ended is read first.
package docker

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"buildstar/builtins/worker"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/starlark/spec"
)

// Worker is worker.DockerLatentWorker (docs/requirements.md A13, B3, B5).
var Worker = &spec.Class{
	Module: "worker", Name: "DockerLatentWorker",
	New: func() any {
		w := &dockerWorker{Latent: worker.LatentDefaults()}
		w.BuildWaitTimeout = 0
		w.Encoding = prop.Of("gzip")
		return w
	},
	Unsupported: worker.LatentUnsupported(), Renamed: worker.Renamed(), Partial: true,
}

// dockerWorker is a worker that runs in a container, which the master starts when a build
// needs it. Without build_wait_timeout the container ends with the build.
type dockerWorker struct {
	// Name identifies the worker, as worker.Worker's does. The container is called
	// buildbot-NAME-HASH.
	Name string `star:"name"`
	// Password is what the worker logs in with. None makes a random one for each container,
	// which gets it as the variable WORKERPASS.
	Password *prop.Credential `star:"password"`
	Params
	worker.Latent `star:",kw"`
}

// Params is what master.star says of the containers of a worker.
type Params struct {
	// DockerHost is the engine: unix:///var/run/docker.sock, or tcp://HOST:PORT.
	DockerHost prop.Template[string] `star:"docker_host"`
	// Image is the name of the image. If the engine lacks it, it is built from dockerfile or
	// pulled with autopull; else the build ends as EXCEPTION. Without a name the image of
	// dockerfile has one of its own.
	Image prop.Template[*string] `star:"image,optional"`
	// Command is run instead of the image's own.
	Command []string `star:"command,optional"`
	// Volumes are what the container sees of the engine's files: HOST:CONTAINER, with :ro if
	// it may only read. HOST is a directory or the name of a volume.
	Volumes prop.Template[*[]string] `star:"volumes,optional"`
	// Dockerfile says how to build the image: its text, or with custom_context the path of an
	// archive.
	Dockerfile prop.Template[*string] `star:"dockerfile,optional"`
	// Version is that of the engine's API, such as "1.41". The default, which is "auto" too, is
	// the newest that both know.
	Version string `star:"version,optional"`
	// TLS is how to talk to an engine at a tcp address that wants certificates: a dict of
	// client_cert, a pair of files with certificate and key, ca_cert, a file with the
	// authorities to trust, and verify, which is True unless it says otherwise. True trusts
	// what the system does. Relative paths are below the master's basedir.
	TLS TLS `star:"tls,optional"`
	// FollowStartupLogs shows what the container prints until its worker connects.
	FollowStartupLogs bool `star:"followStartupLogs,optional"`
	// MasterProtocol is what the worker speaks: a key of c['protocols']. The default is the
	// one that is there.
	MasterProtocol string `star:"master_protocol,optional"`
	// HostConfig are further settings of the container, by the names that Python's docker
	// package has for them: {"network_mode": "host", "mem_limit": "2g", "cap_add":
	// ["SYS_PTRACE"]}. init, which has a process with number 1 that reaps others, is True
	// unless it says otherwise.
	HostConfig prop.Template[*map[string]any] `star:"hostconfig,optional"`
	// Autopull pulls the image if the engine lacks it.
	Autopull bool `star:"autopull,optional"`
	// AlwaysPull pulls the image before each start if there is autopull too, and the image
	// that a Dockerfile begins with before each build.
	AlwaysPull bool `star:"alwaysPull,optional"`
	// CustomContext says that dockerfile is the path of a tar archive with a Dockerfile and
	// what it copies. A relative path is below the master's basedir.
	CustomContext prop.Template[bool] `star:"custom_context,optional"`
	// Encoding is how an archive that is not compressed is sent to the engine: "gzip", or
	// "identity", as it is. The engine itself knows one that is compressed.
	Encoding prop.Template[string] `star:"encoding,optional" oneof:"gzip|identity"`
	// Target is the stage of the Dockerfile to build; the default is the last.
	Target prop.Template[*string] `star:"target,optional"`
	// BuildArgs are the values of the ARGs of the Dockerfile.
	BuildArgs prop.Template[*map[string]string] `star:"buildargs,optional"`
	// Hostname is that of the container; the default is the beginning of its id.
	Hostname prop.Template[*string] `star:"hostname,optional"`
}

var _ latent.Params = (*Params)(nil)

// protocol is what workers speak.
const protocol = "msgpack_experimental_v7"

var apiVersion = regexp.MustCompile(`^(auto|[0-9]+\.[0-9]+)?$`)

// Make makes the node.
func (w *dockerWorker) Make(c *spec.Call) any {
	problem := func(param, text, hint string) { c.Problem("bad-value", param, text, hint) }
	if v, plain := w.DockerHost.Plain(); plain && w.DockerHost.IsSet() {
		if _, err := endpoint(v); err != nil {
			problem("docker_host", err.Error(), "")
		}
	}
	image, plain := w.Image.Plain()
	dockerfile, plainFile := w.Dockerfile.Plain()
	if plain && plainFile && isEmpty(image) && isEmpty(dockerfile) {
		c.Problem("missing-argument", "", "there is neither image nor dockerfile", `add image="NAME"`)
	}
	if v, plain := w.CustomContext.Plain(); plain && v && plainFile && isEmpty(dockerfile) {
		problem("custom_context", "there is no dockerfile", "write the path of the archive as dockerfile")
	}
	if v, plain := w.Volumes.Plain(); plain && v != nil {
		if err := checkVolumes(*v); err != nil {
			problem("volumes", err.Error(), "")
		}
	}
	w.checkHostConfig(problem)
	if !apiVersion.MatchString(w.Version) {
		problem("version", fmt.Sprintf("%q is no version of the API", w.Version), `write one such as "1.41", or leave it out`)
	}
	if p := w.MasterProtocol; p != "" && p != protocol {
		problem("master_protocol", fmt.Sprintf("c['protocols'] cannot have %q here", p), "leave it out: workers speak "+protocol)
	}
	return w.LatentNode(c, "DockerLatentWorker", w.Name, w.Password, &w.Params, w.Varies())
}

// checkHostConfig checks what can be known of a hostconfig before a build is: also the names
// in a dict with values that depend on properties.
func (w *dockerWorker) checkHostConfig(problem func(param, text, hint string)) {
	given, plain := w.HostConfig.Plain()
	values := orZero(given)
	if d, ok := w.HostConfig.Renderable().(prop.Dict); ok && !plain {
		values = make(map[string]any)
		for _, item := range d {
			name, plainName := item.Key.(prop.Const)
			value, plainValue := item.Value.(prop.Const)
			key, ok := name.V.(string)
			if !plainName || !ok {
				continue
			}
			if plainValue {
				values[key] = value.V
			} else if err := checkHostKey(key); err != nil {
				problem("hostconfig", err.Error(), "")
			}
		}
	}
	_, err := hostFields(values)
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range all.Unwrap() {
			problem("hostconfig", err.Error(), "")
		}
	}
}

func isEmpty(s *string) bool { return orZero(s) == "" }

// Kind returns "docker".
func (p *Params) Kind() string { return "docker" }

// A rendering is an argument that may depend on the properties of a build.
type rendering struct {
	name    string
	dynamic bool
	value   func(context.Context, prop.Props) (any, error)
}

func renderingOf[T any](name string, t prop.Template[T]) rendering {
	_, plain := t.Plain()
	return rendering{name, !plain, func(ctx context.Context, p prop.Props) (any, error) {
		v, err := t.Render(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("render %s: %w", name, err)
		}
		return propertyValue(v), nil
	}}
}

// propertyValue makes a property value of what a Template renders.
func propertyValue(v any) any {
	switch v := v.(type) {
	case *string:
		if v == nil {
			return nil
		}
		return *v
	case *[]string:
		l := []any{}
		for _, s := range orZero(v) {
			l = append(l, s)
		}
		return l
	case *map[string]string:
		m := make(map[string]any)
		for k, s := range orZero(v) {
			m[k] = s
		}
		return m
	case *map[string]any:
		m := make(map[string]any)
		maps.Copy(m, orZero(v))
		return m
	}
	return v
}

func orZero[T any](v *T) (t T) {
	if v != nil {
		t = *v
	}
	return t
}

// renderings are what makes containers differ (B5).
func (p *Params) renderings() []rendering {
	return []rendering{
		renderingOf("docker_host", p.DockerHost), renderingOf("image", p.Image), renderingOf("dockerfile", p.Dockerfile),
		renderingOf("volumes", p.Volumes), renderingOf("hostconfig", p.HostConfig), renderingOf("custom_context", p.CustomContext),
		renderingOf("encoding", p.Encoding), renderingOf("target", p.Target), renderingOf("buildargs", p.BuildArgs),
		renderingOf("hostname", p.Hostname),
	}
}

// Varies reports whether an argument depends on properties.
func (p *Params) Varies() bool {
	for _, r := range p.renderings() {
		if r.dynamic {
			return true
		}
	}
	return false
}

// Render returns the arguments of a container for a build, checked.
func (p *Params) Render(ctx context.Context, props prop.Props) (latent.Arguments, error) {
	a := make(latent.Arguments)
	for _, r := range p.renderings() {
		v, err := r.value(ctx, props)
		if err != nil {
			return nil, err
		}
		a[r.name] = v
	}
	if _, err := read(a); err != nil {
		return nil, err
	}
	return a, nil
}

// TLS is how to talk to an engine with certificates.
type TLS struct {
	On                bool
	Cert, Key, CACert string // files; "": none, and what the system trusts
	NoVerify          bool
}

// TypeName is what messages call it.
func (*TLS) TypeName() string { return "bool or dict of client_cert, ca_cert, verify" }

// FromValue reads True, False or a dict.
func (t *TLS) FromValue(v any) error {
	*t = TLS{}
	switch v := v.(type) {
	case nil:
		return nil
	case bool:
		t.On = v
		return nil
	case map[string]any:
		t.On = true
		for key, value := range v {
			if err := t.set(key, value); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("want a dict of client_cert, ca_cert and verify, or True, got %s", prop.Describe(v))
}

func (t *TLS) set(key string, value any) (err error) {
	keys := []string{"ca_cert", "client_cert", "verify"}
	switch key {
	case "ca_cert":
		t.CACert, err = prop.Convert[string](value)
	case "client_cert":
		var pair []string
		if pair, err = prop.Convert[[]string](value); err == nil && len(pair) != 2 {
			return fmt.Errorf("client_cert: want a pair of files, certificate and key")
		}
		if err == nil {
			t.Cert, t.Key = pair[0], pair[1]
		}
	case "verify":
		var yes bool
		yes, err = prop.Convert[bool](value)
		t.NoVerify = !yes
	default:
		return unknownKey(key, keys)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// unknownKey says that there is no such key, and which was meant.
func unknownKey(key string, keys []string) error {
	if near := prop.Nearest(key, keys); near != "" {
		return fmt.Errorf("there is no %q; did you mean %q?", key, near)
	}
	return fmt.Errorf("there is no %q; there are %s", key, strings.Join(keys, ", "))
}
