package openstack

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/limits"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"buildstar/latent"
)

var _ latent.Doctor = (*backend)(nil)

// Examine implements latent.Doctor. What depends on a build is not looked at.
func (b *backend) Examine(ctx context.Context, report func(latent.Finding)) {
	a, err := b.params.account(ctx, b.env)
	if err != nil {
		report(latent.Examined("account", "", err, "correct the os_ arguments of the worker"))
		return
	}
	keystone := a.auth.IdentityEndpoint
	reach := b.reach(ctx, a)
	report(reach)
	if reach.Health == latent.Ill {
		return
	}
	sent := time.Now()
	c, err := login(ctx, a, b.params.transport)
	came := time.Now()
	if err != nil {
		fix := ""
		if status(err) == http.StatusUnauthorized {
			fix = fmt.Sprintf("try the same user, password, project and domains with `openstack --os-auth-url %s token issue`", keystone)
		}
		report(latent.Examined("credentials", "", err, fix))
		return
	}
	defer c.provider.HTTPClient.CloseIdleConnections()
	report(latent.Examined("credentials", c.who(), nil, ""))
	report(c.clocks(sent, came))
	f := b.examineFlavor(ctx, c, report)
	b.examineQuota(ctx, c, f, report)
	b.examineImage(ctx, c, report)
	b.examineRest(ctx, c, report)
}

// reach asks Keystone without logging in.
func (b *backend) reach(ctx context.Context, a *account) latent.Finding {
	url := a.auth.IdentityEndpoint
	check := "reach " + url
	const fix = "is the address of Keystone right, and does this machine get there?"
	p := client(a, b.params.transport)
	defer p.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return latent.Examined(check, "", err, fix)
	}
	sent := time.Now()
	res, err := p.Do(req)
	if err != nil {
		return latent.Examined(check, "", err, fix)
	}
	res.Body.Close()
	if res.StatusCode >= http.StatusInternalServerError || res.StatusCode == http.StatusNotFound {
		return latent.Examined(check, "", fmt.Errorf("it answers %s", res.Status), fix)
	}
	return latent.Examined(check, fmt.Sprintf("it answered in %v", time.Since(sent).Round(time.Millisecond)), nil, "")
}

// maxSkew is how far the clocks may be apart: tokens and certificates have times in them.
const maxSkew = time.Minute

// clocks compares the clock with Keystone's, which made a token between two times.
func (c *cloud) clocks(sent, came time.Time) latent.Finding {
	var token struct {
		IssuedAt time.Time `json:"issued_at"`
	}
	f := latent.Finding{Check: "clocks"}
	result, ok := c.provider.GetAuthResult().(tokens.CreateResult)
	if !ok || result.ExtractInto(&token) != nil || token.IssuedAt.IsZero() {
		f.Health, f.Text = latent.Doubtful, "Keystone does not say what time it is"
		return f
	}
	var apart time.Duration
	switch theirs := token.IssuedAt; {
	case theirs.Before(sent.Add(-time.Second)): // it may leave out what is below seconds
		apart = sent.Sub(theirs).Round(time.Second)
		f.Text = fmt.Sprintf("Keystone's is %v behind", apart)
	case theirs.After(came):
		apart = theirs.Sub(came).Round(time.Second)
		f.Text = fmt.Sprintf("Keystone's is %v ahead", apart)
	default:
		f.Text = "Keystone's is the same"
	}
	if apart > maxSkew {
		f.Health, f.Fix = latent.Doubtful, "set the clock of this machine by NTP"
	}
	return f
}

// who says who is logged in.
func (c *cloud) who() string {
	result, ok := c.provider.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return "logged in"
	}
	text := "logged in"
	if u, err := result.ExtractUser(); err == nil && u != nil {
		text += " as " + u.Name
	}
	if p, err := result.ExtractProject(); err == nil && p != nil {
		text += " of project " + p.Name
	}
	if t, err := result.ExtractToken(); err == nil {
		text += ", until " + t.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return text
}

// examineFlavor reports whether there is the flavor, and returns it.
func (b *backend) examineFlavor(ctx context.Context, c *cloud, report func(latent.Finding)) *flavor {
	name, plain := b.params.Flavor.Plain()
	if !plain {
		report(dependent("flavor"))
		return nil
	}
	f, err := c.flavor(ctx, string(name))
	if err != nil {
		report(latent.Examined("flavor", "", err, "`openstack flavor list` lists those that there are"))
		return nil
	}
	report(latent.Examined("flavor", fmt.Sprintf("%s: %d CPUs, %d MiB of memory, a disk of %d GiB", f.name, f.cpu, f.ramMiB, f.diskGiB), nil, ""))
	return f
}

func dependent(check string) latent.Finding {
	return latent.Finding{Check: check, Text: "it depends on the build"}
}

// examineQuota reports whether there is room for a server of a flavor, which may be nil.
func (b *backend) examineQuota(ctx context.Context, c *cloud, f *flavor, report func(latent.Finding)) {
	nova, err := c.compute(oldest)
	var found *limits.Limits
	if err == nil {
		found, err = limits.Get(ctx, nova, nil).Extract()
	}
	if err != nil {
		report(latent.Examined("quota", "", reason(err), ""))
		return
	}
	if f == nil {
		f = &flavor{}
	}
	q := found.Absolute
	finding := latent.Finding{Check: "quota", Text: fmt.Sprintf("%s servers, %s CPUs and %s MiB of memory are used",
		share(q.TotalInstancesUsed, q.MaxTotalInstances), share(q.TotalCoresUsed, q.MaxTotalCores), share(q.TotalRAMUsed, q.MaxTotalRAMSize))}
	if full(q.TotalInstancesUsed, 1, q.MaxTotalInstances) || full(q.TotalCoresUsed, f.cpu, q.MaxTotalCores) || full(q.TotalRAMUsed, f.ramMiB, q.MaxTotalRAMSize) {
		finding.Health, finding.Fix = latent.Doubtful, "there is no room for one more: delete servers, ask for more, or limit the workers by util.InstanceCap"
	}
	report(finding)
}

// share is what is used of a quota, -1 for none.
func share(used, most int) string {
	if most < 0 {
		return fmt.Sprint(used)
	}
	return fmt.Sprintf("%d of %d", used, most)
}

func full(used, more, most int) bool { return most >= 0 && used+more > most }

// examineImage reports whether there is the image.
func (b *backend) examineImage(ctx context.Context, c *cloud, report func(latent.Finding)) {
	fix := "`openstack image list` lists those that there are"
	var i *image
	var err error
	name, plain := b.params.Image.name.Plain()
	switch {
	case b.params.Image.Function != nil:
		fix = "correct the function"
		var all []*image
		if all, err = c.images(ctx); err == nil {
			i, err = choose(ctx, b.params.Image.Function, all, nil, func(string) {})
		}
	case !plain:
		report(dependent("image"))
		return
	case orZero(name) == "":
		return // block_devices has it
	default:
		i, err = c.image(ctx, *name)
	}
	if err != nil {
		report(latent.Examined("image", "", err, fix))
		return
	}
	report(latent.Examined("image", fmt.Sprintf("%s, %s, of %s", i.name, i.id, i.created.UTC().Format(time.RFC3339)), nil, ""))
}

// examineRest reports whether there are the networks, the key pair and what disks are made
// of.
func (b *backend) examineRest(ctx context.Context, c *cloud, report func(latent.Finding)) {
	if names, plain := b.params.Networks.Plain(); plain {
		for _, name := range orZero(names) {
			id, err := c.network(ctx, name)
			report(latent.Examined("network", name+", "+id, err, "`openstack network list` lists those that there are"))
		}
	}
	if key, plain := b.params.KeyName.Plain(); plain && orZero(key) != "" {
		nova, err := c.compute(oldest)
		if err == nil {
			_, err = keypairs.Get(ctx, nova, *key, nil).Extract()
		}
		report(latent.Examined("key pair", *key, reason(err), "`openstack keypair list` lists those that there are"))
	}
	if list, plain := b.params.BlockDevices.Plain(); plain {
		devices, err := readDevices(orZero(list))
		if err == nil {
			_, err = mapping(ctx, c, devices)
		}
		if len(devices) > 0 || err != nil {
			report(latent.Examined("block_devices", fmt.Sprintf("%d, all of what is there", len(devices)), err, ""))
		}
	}
}
