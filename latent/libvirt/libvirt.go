// Package libvirt runs latent workers in virtual machines of libvirt
// (docs/requirements.md A11, B8), through virsh, which knows every transport and every way to
// authenticate, and qemu-img.
//
// A domain has the name of its worker, so that there is one at most, and metadata that say
// which master started it, for which worker and which attempt. It is transient, also that of
// a worker whose domain is defined: the definition is read, never changed.
package libvirt

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/starlark/spec"
)

// Worker is worker.LibVirtWorker (docs/requirements.md A11, B3, B8). Old configurations have
// a util.Connection as third argument.
var Worker = &spec.Class{
	Module: "worker", Name: "LibVirtWorker",
	New: func() any {
		return &libvirtWorker{Latent: worker.LatentDefaults(), Params: Params{URI: "system:///", CheapCopy: true}}
	},
	Former:      &spec.Former{Names: former, Mark: "uri", Class: "util.Connection"},
	Unsupported: worker.LatentUnsupported(), Renamed: worker.Renamed(), Old: map[string]string{"connection": "uri"}, Partial: true,
}

// former are the arguments of Buildbot 0.8.
var former = []string{
	"name", "password", "uri", "hd_image", "base_image", "xml",
	"max_builds", "notify_on_missing", "missing_timeout", "build_wait_timeout", "properties", "locks",
}

// libvirtWorker is a worker that runs in a virtual machine, which the master starts when a
// build needs it and destroys afterwards.
type libvirtWorker struct {
	// Name identifies the worker, as worker.Worker's does, and is the name of the domain.
	Name string `star:"name"`
	// Password is what the worker logs in with. None makes a random one for each start.
	Password *prop.Credential `star:"password"`
	Params
	worker.Latent `star:",kw"`
}

// Params is what master.star says of the domains of a worker.
type Params struct {
	// HDImage is the disk of the domain: a path on the host of libvirt. With base_image it is
	// made anew for each start, whatever is there, and removed at the stop; the default
	// is then a name of its own beside base_image. Without base_image the disk is used as it is.
	// A relative path is below the master's basedir.
	HDImage prop.Template[*string] `star:"hd_image,optional"`
	// BaseImage is the disk that each start begins with. It is never written to.
	BaseImage prop.Template[*string] `star:"base_image,optional"`
	// URI is that of libvirt, as virsh --connect takes it: qemu:///system, qemu+ssh://USER@HOST/system;
	// or an old util.Connection. The default, system:///, is qemu:///system.
	URI URI `star:"uri,optional"`
	// XML defines the domain, as virsh create takes it. The default is the definition that libvirt
	// has under the name of the worker. The name in it, and a uuid, are replaced.
	XML prop.Template[*string] `star:"xml,optional"`
	// CheapCopy makes the disk a qcow2 image on top of base_image. False copies base_image
	// in its own format.
	CheapCopy bool `star:"cheap_copy,optional,kw"`
	// GracefulShutdown asks the system in the domain to shut down and waits a minute for it; what
	// runs then is destroyed. False destroys the domain at once; so does a stop of the master.
	GracefulShutdown bool `star:"graceful_shutdown,optional,kw"`

	name string // of the worker
	exec runner // nil: programs of this machine
}

var _ latent.Params = (*Params)(nil)

// URI is where libvirt is.
type URI string

// TypeName is what messages call it.
func (*URI) TypeName() string { return "string or util.Connection" }

// FromValue reads a URI or a util.Connection.
func (u *URI) FromValue(v any) error {
	switch v := v.(type) {
	case string:
		*u = URI(v)
	case *util.LibvirtConnection:
		*u = URI(v.URI)
	default:
		return fmt.Errorf("want %s, got %s", u.TypeName(), prop.Describe(v))
	}
	return nil
}

var uriForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://[^\s]`)

// resolve returns what virsh takes. The short forms are those of old defaults.
func (u URI) resolve() (string, error) {
	switch u {
	case "system:///":
		return "qemu:///system", nil
	case "session:///":
		return "qemu:///session", nil
	}
	if !uriForm.MatchString(string(u)) {
		return "", fmt.Errorf("%q is no URI of libvirt; write one such as qemu:///system or qemu+ssh://HOST/system", string(u))
	}
	return string(u), nil
}

// remote reports whether a URI is that of another machine, whose files are not ours.
func remote(uri string) bool {
	_, rest, _ := strings.Cut(uri, "://")
	return !strings.HasPrefix(rest, "/")
}

// Make makes the node.
func (w *libvirtWorker) Make(c *spec.Call) any {
	problem := func(param, text, hint string) { c.Problem("bad-value", param, text, hint) }
	if _, err := w.URI.resolve(); err != nil {
		problem("uri", err.Error(), "")
	}
	hd, plainHD := w.HDImage.Plain()
	base, plainBase := w.BaseImage.Plain()
	if plainHD && plainBase && deref(hd) != "" && deref(hd) == deref(base) {
		problem("hd_image", "it is base_image, which every start would overwrite", "name another file, or leave it out")
	}
	if plainBase && deref(base) == "" && !w.CheapCopy {
		problem("cheap_copy", "there is no base_image to copy", "leave it out")
	}
	if text, plain := w.XML.Plain(); plain && text != nil {
		if _, err := parseDomain(*text); err != nil {
			problem("xml", err.Error(), "")
		}
	}
	w.name = w.Name
	return w.LatentNode(c, "LibVirtWorker", w.Name, w.Password, &w.Params, w.Varies())
}

// Kind returns "libvirt".
func (p *Params) Kind() string { return "libvirt" }

// templates are the arguments that may depend on the properties of a build.
func (p *Params) templates() map[string]prop.Template[*string] {
	return map[string]prop.Template[*string]{"hd_image": p.HDImage, "base_image": p.BaseImage, "xml": p.XML}
}

// Varies reports whether an argument depends on properties.
func (p *Params) Varies() bool {
	for _, t := range p.templates() {
		if _, plain := t.Plain(); !plain {
			return true
		}
	}
	return false
}

// Render returns the arguments of a domain for a build, checked.
func (p *Params) Render(ctx context.Context, props prop.Props) (latent.Arguments, error) {
	a := latent.Arguments{"uri": string(p.URI), "cheap_copy": p.CheapCopy}
	for name, t := range p.templates() {
		v, err := t.Render(ctx, props)
		if err != nil {
			return nil, fmt.Errorf("render %s: %w", name, err)
		}
		a[name] = deref(v)
	}
	if _, err := read(a); err != nil {
		return nil, err
	}
	return a, nil
}

// wanted are the arguments of a domain, read and checked.
type wanted struct {
	uri       string // as virsh takes it
	hdImage   string // "": base_image decides
	baseImage string // "": the disk is used as it is
	xml       string // "": the definition that libvirt has
	cheap     bool
}

// read reads what Render returned, maybe long ago.
func read(a latent.Arguments) (*wanted, error) {
	var w wanted
	var errs []error
	var err error
	if w.uri, err = URI(argument[string](&errs, a, "uri")).resolve(); err != nil {
		errs = append(errs, fmt.Errorf("uri: %w", err))
	}
	w.hdImage, w.baseImage = argument[string](&errs, a, "hd_image"), argument[string](&errs, a, "base_image")
	w.xml, w.cheap = argument[string](&errs, a, "xml"), argument[bool](&errs, a, "cheap_copy")
	if w.hdImage != "" && w.hdImage == w.baseImage {
		errs = append(errs, errors.New("hd_image: it is base_image"))
	}
	if w.xml != "" {
		if _, err := parseDomain(w.xml); err != nil {
			errs = append(errs, fmt.Errorf("xml: %w", err))
		}
	}
	return &w, errors.Join(errs...)
}

func argument[T any](errs *[]error, a latent.Arguments, name string) T {
	v, err := prop.Convert[T](a[name])
	if err != nil {
		*errs = append(*errs, fmt.Errorf("%s: %w", name, err))
	}
	return v
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
