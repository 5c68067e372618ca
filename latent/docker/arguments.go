package docker

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"buildstar/config/prop"
	"buildstar/latent"
)

// wanted are the arguments of a container, read and checked.
type wanted struct {
	host          string // as endpoint returns it
	image         string // "": the one that dockerfile makes
	dockerfile    string
	volumes       []string
	hostconfig    map[string]any // by the names of the API
	customContext bool
	encoding      string
	target        string
	buildargs     map[string]string
	hostname      string
}

// read reads what Render returned, maybe long ago.
func read(a latent.Arguments) (*wanted, error) {
	var w wanted
	var errs []error
	host := argument[string](&errs, a, "docker_host")
	w.image = orZero(argument[*string](&errs, a, "image"))
	w.dockerfile = orZero(argument[*string](&errs, a, "dockerfile"))
	w.volumes = argument[[]string](&errs, a, "volumes")
	w.customContext = argument[bool](&errs, a, "custom_context")
	w.encoding = argument[string](&errs, a, "encoding")
	w.target = orZero(argument[*string](&errs, a, "target"))
	w.buildargs = argument[map[string]string](&errs, a, "buildargs")
	w.hostname = orZero(argument[*string](&errs, a, "hostname"))
	settings := argument[map[string]any](&errs, a, "hostconfig")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var err error
	if w.host, err = endpoint(host); err != nil {
		return nil, fmt.Errorf("docker_host: %w", err)
	}
	if err := checkVolumes(w.volumes); err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	if w.hostconfig, err = hostFields(settings); err != nil {
		return nil, fmt.Errorf("hostconfig: %w", err)
	}
	switch {
	case w.image == "" && w.dockerfile == "":
		return nil, errors.New("there is neither image nor dockerfile")
	case w.customContext && w.dockerfile == "":
		return nil, errors.New("custom_context: there is no dockerfile")
	case w.encoding != "gzip" && w.encoding != "identity":
		return nil, fmt.Errorf("encoding: want gzip or identity, got %q", w.encoding)
	}
	return &w, nil
}

func argument[T any](errs *[]error, a latent.Arguments, name string) T {
	v, err := prop.Convert[T](a[name])
	if err != nil {
		*errs = append(*errs, fmt.Errorf("%s: %w", name, err))
	}
	return v
}

// endpoint reads docker_host: the result is unix:///PATH, tcp://HOST:PORT, or the same with
// https for TLS in any case.
func endpoint(s string) (string, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "tcp", s
	}
	switch scheme {
	case "unix", "http+unix":
		path := "/" + strings.TrimLeft(strings.TrimPrefix(strings.ReplaceAll(rest, "%2F", "/"), "localhost/"), "/")
		if path == "/" {
			return "", fmt.Errorf("%q names no socket; write unix:///var/run/docker.sock", s)
		}
		return "unix://" + path, nil
	case "tcp", "http", "https":
	default:
		return "", fmt.Errorf("%q: engines are reached by unix:// or tcp://, not by %s://", s, scheme)
	}
	u, err := url.Parse("tcp://" + rest)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", fmt.Errorf("%q is no address of an engine; write tcp://HOST:PORT or unix:///var/run/docker.sock", s)
	}
	port := u.Port()
	if port == "" {
		if port = "2375"; scheme == "https" {
			port = "2376"
		}
	}
	if scheme == "http" {
		scheme = "tcp"
	}
	return scheme + "://" + net.JoinHostPort(u.Hostname(), port), nil
}

// checkVolumes checks HOST:CONTAINER[:MODE].
func checkVolumes(volumes []string) error {
	for i, v := range volumes {
		host, rest, ok := strings.Cut(v, ":")
		if !ok || host == "" || rest == "" || rest[0] == ':' {
			return fmt.Errorf("item %d: want HOST:CONTAINER or HOST:CONTAINER:ro, got %q", i+1, v)
		}
	}
	return nil
}
