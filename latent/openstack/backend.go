package openstack

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"buildstar/config/prop"
	"buildstar/latent"
)

// backend makes the servers of one worker.
type backend struct {
	params *Params
	env    latent.Env
	// certain is the last attempt of which Start knows that no request for a server is on its
	// way any more.
	certain int64
}

var (
	_ latent.Checker = (*backend)(nil)
	_ latent.Lister  = (*backend)(nil)
)

// Open returns the backend.
func (p *Params) Open(e latent.Env) (latent.Backend, error) { return &backend{params: p, env: e}, nil }

// Start creates a server, and returns once it is active (docs/requirements.md B7).
func (b *backend) Start(ctx context.Context, in latent.Launch) (s latent.Started, err error) {
	sent := false
	defer func() {
		if !sent {
			b.certain = in.Attempt
		}
	}()
	w, err := b.unseal(ctx, in.Arguments)
	if err != nil {
		return s, err
	}
	c, err := b.cloud(ctx)
	if err != nil {
		return s, err
	}
	if err := b.removeLeft(ctx, c, in); err != nil {
		return s, err
	}
	var id string
	var info []string
	for began, again := time.Now(), false; ; again = true {
		id, info, sent, err = b.create(ctx, c, w, in)
		// What was looked up a while ago may be gone since: an image, say.
		if err == nil || again || !errors.Is(err, latent.ErrCannotSubstantiate) || !c.looked.forget(began) {
			break
		}
	}
	if err != nil {
		return s, err
	}
	sent = false // it was answered
	in.Log(fmt.Sprintf("server %s is being built\n", id))
	if err := b.active(ctx, c, id); err != nil {
		return s, err
	}
	return latent.Started{Handle: id, Info: append([]string{id}, info...)}, nil
}

// unseal reads the arguments of a start, with the secrets in them.
func (b *backend) unseal(ctx context.Context, a latent.Arguments) (*wanted, error) {
	open, err := unseal(map[string]any(a), func(name string) (string, error) { return secrets(b.env.Secret).get(ctx, name) })
	if err != nil {
		return nil, fmt.Errorf("read the arguments: %w", err)
	}
	w, err := b.params.read(open.(map[string]any))
	if err != nil {
		return nil, latent.Cannotf("%w", err)
	}
	return w, nil
}

// removeLeft removes what an earlier start left under the name of the worker.
func (b *backend) removeLeft(ctx context.Context, c *cloud, in latent.Launch) error {
	left, err := c.list(ctx, b.env.Master, in.Worker)
	if err != nil {
		return err
	}
	for _, s := range left {
		in.Log(fmt.Sprintf("remove server %s, which an earlier start left\n", s.ID))
		if err := c.remove(ctx, s.ID, false); err != nil {
			return err
		}
	}
	return nil
}

// create asks for the server; info are the names of what it is made of.
func (b *backend) create(ctx context.Context, c *cloud, w *wanted, in latent.Launch) (id string, info []string, sent bool, err error) {
	what, info, err := b.request(ctx, c, w, in)
	if err != nil {
		return "", nil, false, err
	}
	v, err := readVersion(b.params.ClientVersion)
	if err != nil {
		return "", nil, false, err
	}
	id, sent, err = c.create(ctx, v, what)
	return id, info, sent, err
}

// request makes the request for a server.
func (b *backend) request(ctx context.Context, c *cloud, w *wanted, in latent.Launch) (what creation, info []string, err error) {
	meta := map[string]string{tagMaster: b.env.Master, tagWorker: in.Worker, tagAttempt: strconv.FormatInt(in.Attempt, 10)}
	maps.Copy(meta, w.meta)
	f, err := c.flavor(ctx, w.flavor)
	if err != nil {
		return what, nil, err
	}
	server := map[string]any{"name": in.Worker, "flavorRef": f.id, "metadata": meta, "imageRef": ""}
	info = []string{f.name}
	i, err := b.image(ctx, c, w, in)
	if err != nil {
		return what, nil, err
	}
	if i != nil {
		server["imageRef"] = i.id
		info = append(info, i.name)
	}
	if len(w.devices) > 0 {
		if server["block_device_mapping_v2"], err = mapping(ctx, c, w.devices); err != nil {
			return what, nil, err
		}
	}
	if err := connect(ctx, c, server, w.networks); err != nil {
		return what, nil, err
	}
	optional := func(field, v string) {
		if v != "" {
			server[field] = v
		}
	}
	optional("key_name", w.keyName)
	optional("availability_zone", w.zone)
	optional("user_data", base64.StdEncoding.EncodeToString([]byte(b.params.fill(w.userData, in))))
	if b.params.ConfigDrive {
		server["config_drive"] = true
	}
	if len(w.securityGroups) > 0 {
		groups := []map[string]any{}
		for _, name := range w.securityGroups {
			groups = append(groups, map[string]any{"name": name})
		}
		server["security_groups"] = groups
	}
	what = creation{server, map[string]any{}}
	if err := putNovaArgs(what.server, what.beside, w.nova); err != nil {
		return what, nil, latent.Cannotf("%w", err)
	}
	return what, info, nil
}

// image finds the image, or lets the function choose it; nil if there is to be none.
func (b *backend) image(ctx context.Context, c *cloud, w *wanted, in latent.Launch) (*image, error) {
	if b.params.Image.Function == nil {
		if w.image == "" {
			return nil, nil
		}
		return c.image(ctx, w.image)
	}
	all, err := c.images(ctx)
	if err != nil {
		return nil, err
	}
	i, err := choose(ctx, b.params.Image.Function, all, in.Properties, in.Log)
	if err == nil {
		in.Log(fmt.Sprintf("the function chose image %q, %s\n", i.name, i.id))
	}
	return i, err
}

// connect puts the networks into a request. Without any Nova decides.
func connect(ctx context.Context, c *cloud, server map[string]any, names []string) error {
	if len(names) == 0 {
		return nil
	}
	list := []map[string]any{}
	for _, name := range names {
		id, err := c.network(ctx, name)
		if err != nil {
			return err
		}
		list = append(list, map[string]any{"uuid": id})
	}
	server["networks"] = list
	return nil
}

// mapping makes the disks of a request; the size of one that is made of something is that of
// its source unless master.star says it (B7).
func mapping(ctx context.Context, c *cloud, devices []device) ([]map[string]any, error) {
	var list []map[string]any
	for _, d := range devices {
		m := map[string]any{
			"source_type": d.source, "destination_type": d.destination, "device_name": d.name, "boot_index": d.bootIndex,
			"delete_on_termination": !d.keep,
		}
		maps.Copy(m, d.more)
		size, err := d.size, error(nil)
		switch d.source {
		case "image":
			var i *image
			if i, err = c.image(ctx, d.uuid); err == nil {
				d.uuid = i.id
				if size == 0 {
					size = i.gib()
				}
			}
		case "volume", "snapshot":
			if size == 0 {
				size, err = c.volumeSize(ctx, d.source, d.uuid)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("block_devices: %w", err)
		}
		if d.uuid != "" {
			m["uuid"] = d.uuid
		}
		if size > 0 {
			m["volume_size"] = size
		}
		list = append(list, m)
	}
	return list, nil
}

// troubles is how many looks at a new server may fail in a row.
const troubles = 5

// active waits until a server is active. One that will never be is the fault of the cloud:
// the request for it was right.
func (b *backend) active(ctx context.Context, c *cloud, id string) error {
	failed := 0
	for pause := newPause(); ; {
		s, err := c.server(ctx, id)
		switch {
		case err != nil:
			if failed++; failed == troubles || ctx.Err() != nil {
				return err
			}
		case s != nil && s.Status == "ACTIVE":
			return nil
		case s.gone() || !s.building():
			return fmt.Errorf("server %s %s", id, s.how())
		default:
			failed = 0
		}
		if err := pause.wait(ctx); err != nil {
			return fmt.Errorf("wait for server %s: %w", id, err)
		}
	}
}

// settling is how long a request for a server may take until Nova lists the server.
const settling = 5 * time.Second

// Stop destroys the server of an instance, with the volumes that were made for it.
func (b *backend) Stop(ctx context.Context, in latent.Ref, fast bool) error {
	c, err := b.cloud(ctx)
	if err != nil {
		return err
	}
	if in.Handle != "" {
		return c.remove(ctx, in.Handle, fast)
	}
	n, err := b.removeAttempt(ctx, c, in, fast)
	if err != nil || n > 0 || in.Attempt == b.certain {
		return err
	}
	// The request may have been sent by a master that did not live to see the answer.
	timer := time.NewTimer(settling)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	_, err = b.removeAttempt(ctx, c, in, fast)
	return err
}

// removeAttempt destroys what an attempt made, and returns how many servers that were.
func (b *backend) removeAttempt(ctx context.Context, c *cloud, in latent.Ref, fast bool) (n int, err error) {
	all, err := c.list(ctx, b.env.Master, in.Worker)
	if err != nil {
		return 0, err
	}
	for _, s := range all {
		if s.Metadata[tagAttempt] == strconv.FormatInt(in.Attempt, 10) {
			n++
			if err := c.remove(ctx, s.ID, fast); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// lastLines is how much of its console the end of a server is explained with.
const lastLines = 50

// Check reports a server that is gone, broken or off.
func (b *backend) Check(ctx context.Context, in latent.Ref) (good bool, message string, err error) {
	if in.Handle == "" {
		return true, "", nil
	}
	c, err := b.cloud(ctx)
	if err != nil {
		return true, err.Error(), nil
	}
	s, err := c.server(ctx, in.Handle)
	if err != nil { // which says nothing of the server
		return true, err.Error(), nil
	}
	if !s.gone() && !fails[s.Status] {
		return true, "", nil
	}
	message = fmt.Sprintf("server %s %s", in.Handle, s.how())
	if !s.gone() {
		if out, err := c.console(ctx, in.Handle, lastLines); err == nil && strings.TrimSpace(out) != "" {
			message += "; the last lines of its console:\n" + out
		}
	}
	return false, message, nil
}

// List returns the servers of this master in the project of the worker.
func (b *backend) List(ctx context.Context) ([]latent.Ref, error) {
	c, err := b.cloud(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.list(ctx, b.env.Master, "")
	if err != nil {
		return nil, err
	}
	var refs []latent.Ref
	for _, s := range all {
		attempt, _ := strconv.ParseInt(s.Metadata[tagAttempt], 10, 64) // 0 is unknown
		refs = append(refs, latent.Ref{Worker: s.Metadata[tagWorker], Attempt: attempt, Handle: s.ID})
	}
	return refs, nil
}

// sealing are the properties of a build, whose secrets stay where they are: of each there is
// but the name.
type sealing struct{ prop.Props }

// Secret implements prop.Props.
func (s sealing) Secret(_ context.Context, name string) (string, error) {
	return fmt.Sprintf(sealed, name), nil
}
