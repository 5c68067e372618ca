package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"buildstar/latent"
)

// backend makes the domains of one worker.
type backend struct {
	params *Params
	env    latent.Env
	exec   runner // programs, but for tests
}

var (
	_ latent.Checker = (*backend)(nil)
	_ latent.Lister  = (*backend)(nil)
	_ latent.Doctor  = (*backend)(nil)
)

// Open returns the backend.
func (p *Params) Open(e latent.Env) (latent.Backend, error) {
	var err error
	if e.Basedir, err = filepath.Abs(e.Basedir); err != nil { // libvirt takes no other paths
		return nil, err
	}
	b := &backend{params: p, env: e, exec: p.exec}
	if b.exec == nil {
		b.exec = programs{}
	}
	return b, nil
}

// dir is where consoles, notes and locks are.
func (b *backend) dir() string { return filepath.Join(b.env.Basedir, "libvirt") }

func (b *backend) storage(uri string) storage {
	if remote(uri) {
		return pools{newHost(uri, b.exec)}
	}
	return files{b.exec}
}

// path is where a file of an instance is: its console, or the note that says which disk was
// made for it.
func (b *backend) path(worker string, attempt int64, kind string) string {
	return filepath.Join(b.dir(), fmt.Sprintf("%s-%d.%s", worker, attempt, kind))
}

// instance is what the metadata of the domain of an instance say.
func (b *backend) instance(w *wanted, r latent.Ref) instance {
	i := instance{master: b.env.Master, worker: r.Worker, attempt: r.Attempt}
	i.disk = diskOf(w, b.env.Basedir, b.env.Master, r.Worker, r.Attempt)
	if !remote(w.uri) {
		i.console = b.path(r.Worker, r.Attempt, "console")
	}
	return i
}

// Start creates the domain of an instance (docs/requirements.md A11, B8). It does not run until
// what libvirt made of the definition has been read back.
func (b *backend) Start(ctx context.Context, in latent.Launch) (latent.Started, error) {
	w, err := read(in.Arguments)
	if err != nil {
		return latent.Started{}, latent.Cannotf("%w", err)
	}
	lock, err := lockWorker(ctx, b.dir(), in.Worker)
	if err != nil {
		return latent.Started{}, err
	}
	defer lock.Close()
	h := newHost(w.uri, b.exec)
	if err := b.removeLeft(ctx, h, in); err != nil {
		return latent.Started{}, err
	}
	d, err := b.definition(ctx, h, w, in)
	if err != nil {
		return latent.Started{}, err
	}
	if err := b.provide(ctx, w, d, lock); err != nil {
		return latent.Started{}, err
	}
	uuid, err := d.run(ctx, h, lock)
	if err != nil {
		return latent.Started{}, err
	}
	if d.console != "" {
		go follow(d.console, in)
	}
	info := []string{in.Worker}
	if w.baseImage != "" {
		info = append(info, w.baseImage)
	}
	return latent.Started{Handle: uuid, Info: info}, nil
}

// definition returns what is to be started.
func (b *backend) definition(ctx context.Context, h *host, w *wanted, in latent.Launch) (*definition, error) {
	d := &definition{text: w.xml, instance: b.instance(w, in.Ref), launch: in}
	if d.must = d.disk; d.must == "" && w.hdImage != "" {
		d.must = absolute(b.env.Basedir, w.hdImage)
	}
	if d.text != "" {
		return d, nil
	}
	var err error
	d.text, err = h.defined(ctx, in.Worker)
	if d.stored = true; err == nil && d.text == "" {
		err = fmt.Errorf("find domain: %s defines no %q; define it there, or give xml", w.uri, in.Worker)
	}
	return d, err
}

// run makes the domain, reads it back, lets it run and returns its uuid.
func (d *definition) run(ctx context.Context, h *host, lock *os.File) (uuid string, err error) {
	text, err := d.define()
	if err != nil {
		return "", err
	}
	if d.console != "" {
		if err := newConsole(d.console); err != nil {
			return "", err
		}
	}
	paused := d.must != "" // not all drivers know that
	if err := h.create(ctx, text, paused, lock); err != nil {
		return "", err
	}
	domain, err := h.running(ctx, d.worker)
	switch {
	case err != nil:
		return "", err
	case domain == nil:
		return "", fmt.Errorf("domain %q ended at once%s", d.worker, lastOf(d.console))
	}
	if err := d.verify(domain); err != nil {
		return "", err
	}
	if paused {
		err = h.resume(ctx, d.worker)
	}
	return domain.first("uuid").text, err
}

// verify compares with what libvirt made of it: a domain with another disk must not build
// (docs/requirements.md D1 pain 29).
func (d *definition) verify(domain *element) error {
	if i, ok := instanceOf(domain); !ok || i != d.instance {
		return fmt.Errorf("domain %q has lost its metadata: %+v", d.worker, i)
	}
	if d.must == "" {
		return nil
	}
	var others []string
	for _, e := range domain.all("devices", "disk") {
		file := e.first("source").attr("file")
		if file != d.must {
			others = append(others, file)
			continue
		}
		base := e.first("backingStore").first("source").attr("file") // only some drivers tell
		if d.base != "" && base != "" && base != d.base {
			return fmt.Errorf("the disk of domain %q is on top of %s, want %s", d.worker, base, d.base)
		}
		return nil
	}
	if len(others) == 0 {
		others = []string{"none"}
	}
	return fmt.Errorf("domain %q does not have the disk %s, but %s; let its definition name hd_image", d.worker, d.must, strings.Join(others, ", "))
}

// removeLeft ends what an earlier start of this master left under the name of the worker.
// Whatever else runs under it is not ours to end.
func (b *backend) removeLeft(ctx context.Context, h *host, in latent.Launch) error {
	domain, err := h.running(ctx, in.Worker)
	if err != nil || domain == nil {
		return err
	}
	i, ours := b.owns(domain)
	if !ours {
		return fmt.Errorf("start domain %q: it runs already at %s, and this master did not start it", in.Worker, h.uri)
	}
	in.Log(fmt.Sprintf("destroy domain %q, which an earlier start left\n", in.Worker))
	return errors.Join(b.removeFiles(ctx, h.uri, i), h.destroy(ctx, in.Worker))
}

// provide makes the disk of an instance.
func (b *backend) provide(ctx context.Context, w *wanted, d *definition, lock *os.File) error {
	if w.baseImage == "" {
		return nil
	}
	s := b.storage(w.uri)
	base, err := s.inspect(ctx, absolute(b.env.Basedir, w.baseImage))
	if err != nil {
		return fmt.Errorf("read base_image: %w", err)
	}
	if d.format = base.format; w.cheap {
		d.format, d.base = "qcow2", base.file
	}
	if err := s.makeRoom(ctx, d.disk); err != nil {
		return fmt.Errorf("make hd_image: %w", err)
	}
	if err := writeNote(b.path(d.worker, d.attempt, "disk"), d.disk); err != nil {
		return err
	}
	d.launch.Log(fmt.Sprintf("make %s of %s\n", d.disk, base.file))
	if err := s.clone(ctx, base, d.disk, w.cheap, lock); err != nil {
		return fmt.Errorf("make hd_image: %w", err)
	}
	return nil
}

// patience is how long a system that was asked to shut down may take.
const patience = time.Minute

// Stop destroys the domain of an instance and removes its disk.
func (b *backend) Stop(ctx context.Context, in latent.Ref, fast bool) error {
	uri, err := b.uriOf(in)
	if err != nil {
		return err
	}
	lock, err := lockWorker(ctx, b.dir(), in.Worker)
	if err != nil {
		return err
	}
	defer lock.Close()
	made, err := b.made(in)
	if err != nil {
		return err
	}
	h := newHost(uri, b.exec)
	domain, err := h.running(ctx, in.Worker)
	if err != nil {
		return err
	}
	i, owned := b.owns(domain)
	if owned = owned && i.attempt == in.Attempt; !owned {
		return b.removeFiles(ctx, uri, made)
	}
	if made.disk == "" { // the ledger was lost, and all of the basedir with it
		made.disk = i.disk
	}
	if !fast && b.params.GracefulShutdown {
		askToEnd(ctx, h, in.Worker)
	}
	// The files go first: if the master ends now, the domain still tells of them.
	return errors.Join(b.removeFiles(ctx, uri, made), h.destroy(ctx, in.Worker))
}

// uriOf returns where an instance is. One that Lister found has no arguments.
func (b *backend) uriOf(in latent.Ref) (string, error) {
	if w, err := read(in.Arguments); err == nil {
		return w.uri, nil
	}
	return b.params.URI.resolve()
}

// made returns what was made for an instance, whether its domain lives or not.
func (b *backend) made(in latent.Ref) (instance, error) {
	i := instance{worker: in.Worker, attempt: in.Attempt, console: b.path(in.Worker, in.Attempt, "console")}
	note, err := os.ReadFile(b.path(in.Worker, in.Attempt, "disk"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	i.disk = string(note)
	return i, err
}

// owns reports whether this master started a domain, and what it says of itself.
func (b *backend) owns(domain *element) (instance, bool) {
	if domain == nil {
		return instance{}, false
	}
	i, ok := instanceOf(domain)
	return i, ok && i.master == b.env.Master && i.worker == domain.first("name").text
}

// writeNote writes a file that must be there after a crash.
func writeNote(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// removeFiles removes the disk of an instance, and then what tells of it.
func (b *backend) removeFiles(ctx context.Context, uri string, i instance) error {
	if i.disk != "" {
		if err := b.storage(uri).remove(ctx, i.disk); err != nil {
			return err
		}
	}
	for _, kind := range []string{"console", "disk"} {
		if err := os.Remove(b.path(i.worker, i.attempt, kind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// askToEnd asks the system in a domain to shut down, and waits for it. Whatever goes wrong,
// the domain is destroyed next.
func askToEnd(ctx context.Context, h *host, name string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := h.shutdown(ctx, name); err != nil {
		return
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if state, _, err := h.state(ctx, name); err != nil || state == "" || state == "shut off" {
			return
		}
	}
}

// Check reports a domain that ended, crashed or cannot go on.
func (b *backend) Check(ctx context.Context, in latent.Ref) (good bool, message string, err error) {
	uri, err := b.uriOf(in)
	if err != nil {
		return false, "", err
	}
	state, reason, err := newHost(uri, b.exec).state(ctx, in.Worker)
	if err != nil {
		return false, "", err
	}
	console := b.path(in.Worker, in.Attempt, "console")
	switch {
	case state == "", state == "shut off":
		return false, fmt.Sprintf("domain %q ended%s", in.Worker, lastOf(console)), nil
	case state == "crashed", state == "paused" && (reason == "I/O error" || reason == "crashed" || reason == "watchdog"):
		return false, fmt.Sprintf("domain %q is %s (%s)%s", in.Worker, state, reason, lastOf(console)), nil
	}
	return true, "", nil
}

// List returns the domains of this master at the libvirt of the worker.
func (b *backend) List(ctx context.Context) ([]latent.Ref, error) {
	uri, err := b.params.URI.resolve()
	if err != nil {
		return nil, err
	}
	h := newHost(uri, b.exec)
	names, err := h.names(ctx)
	if err != nil {
		return nil, err
	}
	var refs []latent.Ref
	for _, name := range names {
		domain, err := h.running(ctx, name)
		if err != nil {
			return nil, err
		}
		if i, ok := b.owns(domain); ok {
			refs = append(refs, latent.Ref{Worker: i.worker, Attempt: i.attempt, Handle: domain.first("uuid").text})
		}
	}
	return refs, nil
}
