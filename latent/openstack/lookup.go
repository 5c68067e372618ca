package openstack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	lru "github.com/hashicorp/golang-lru/v2"

	"buildstar/latent"
)

// lookups are what was found out of a cloud, for a while (docs/requirements.md D2.8). One at
// a time looks, so that workers that start together ask once.
type lookups struct {
	found *lru.Cache[string, lookup]
	turn  chan struct{} // holds one token while nobody looks
}

type lookup struct {
	value any
	at    time.Time
}

func newLookups() *lookups {
	c, err := lru.New[string, lookup](256)
	if err != nil {
		panic(err) // of a size that is no size
	}
	l := &lookups{c, make(chan struct{}, 1)}
	l.turn <- struct{}{}
	return l
}

// How long what was found out stands: images come and go with the builds that make them.
const (
	imagesStand = 10 * time.Second
	othersStand = 5 * time.Minute
)

// lookUp returns what ask found out, maybe a while ago.
func lookUp[T any](ctx context.Context, l *lookups, key string, stands time.Duration, ask func(context.Context) (T, error)) (T, error) {
	var none T
	select {
	case <-l.turn:
		defer func() { l.turn <- struct{}{} }()
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
	if got, ok := l.found.Get(key); ok && time.Since(got.at) < stands {
		return got.value.(T), nil
	}
	v, err := ask(ctx)
	if err != nil {
		return none, err
	}
	l.found.Add(key, lookup{v, time.Now()})
	return v, nil
}

// forget makes the next look-ups ask. It reports whether there was anything that was asked
// before a time.
func (l *lookups) forget(before time.Time) (stale bool) {
	for _, got := range l.found.Values() {
		stale = stale || got.at.Before(before)
	}
	l.found.Purge()
	return stale
}

// A flavor is what is known of a flavor.
type flavor struct {
	id, name             string
	ramMiB, diskGiB, cpu int
}

// flavor finds a flavor by its id or its name.
func (c *cloud) flavor(ctx context.Context, want string) (*flavor, error) {
	all, err := lookUp(ctx, c.looked, "flavors", othersStand, c.flavors)
	if err != nil {
		return nil, err
	}
	var found *flavor
	for _, f := range all {
		if f.id == want {
			return f, nil
		}
		if f.name == want {
			found = f
		}
	}
	if found == nil {
		return nil, latent.Cannotf("the cloud has no flavor %q", want)
	}
	return found, nil
}

func (c *cloud) flavors(ctx context.Context) ([]*flavor, error) {
	nova, err := c.compute(oldest)
	if err != nil {
		return nil, err
	}
	pages, err := flavors.ListDetail(nova, flavors.ListOpts{AccessType: flavors.AllAccess}).AllPages(ctx)
	if err != nil {
		return nil, fmt.Errorf("list flavors: %w", reason(err))
	}
	list, err := flavors.ExtractFlavors(pages)
	if err != nil {
		return nil, fmt.Errorf("list flavors: %w", err)
	}
	var out []*flavor
	for _, f := range list {
		out = append(out, &flavor{f.ID, f.Name, f.RAM, f.Disk, f.VCPUs})
	}
	return out, nil
}

// images returns the images that servers can be made of.
func (c *cloud) images(ctx context.Context) ([]*image, error) {
	return lookUp(ctx, c.looked, "images", imagesStand, func(ctx context.Context) ([]*image, error) {
		glance, err := c.service("image", openstack.NewImageV2)
		if err != nil {
			return nil, err
		}
		pages, err := images.List(glance, images.ListOpts{Status: images.ImageStatusActive, Limit: 200}).AllPages(ctx)
		if err != nil {
			return nil, fmt.Errorf("list images: %w", reason(err))
		}
		list, err := images.ExtractImages(pages)
		if err != nil {
			return nil, fmt.Errorf("list images: %w", err)
		}
		var out []*image
		for _, i := range list {
			out = append(out, &image{
				id: i.ID, name: i.Name, status: string(i.Status), visibility: string(i.Visibility), created: i.CreatedAt, updated: i.UpdatedAt,
				minDisk: int64(i.MinDiskGigabytes), minRAM: int64(i.MinRAMMegabytes), size: i.SizeBytes, virtualSize: i.VirtualSize,
				tags: i.Tags, properties: propertiesOf(i.Properties),
			})
		}
		return out, nil
	})
}

// propertiesOf makes property values of what an image says of itself.
func propertiesOf(given map[string]any) map[string]any {
	out := make(map[string]any, len(given))
	for k, v := range given {
		switch v := v.(type) {
		case nil, bool, string:
			out[k] = v
		case float64:
			out[k] = v
			if n := int64(v); float64(n) == v {
				out[k] = n
			}
		default: // the locations of an image are a list of dicts
			text, err := json.Marshal(v)
			if err == nil {
				out[k] = string(text)
			}
		}
	}
	return out
}

// image finds an image by its id or its name.
func (c *cloud) image(ctx context.Context, want string) (*image, error) {
	all, err := c.images(ctx)
	if err != nil {
		return nil, err
	}
	found, err := pick(all, want)
	if err == nil && found == nil {
		err = latent.Cannotf("the cloud has no image %q that can be used", want)
	}
	return found, err
}

// network finds the id of a network by its id or its name.
func (c *cloud) network(ctx context.Context, want string) (string, error) {
	return lookUp(ctx, c.looked, "network "+want, othersStand, func(ctx context.Context) (string, error) {
		neutron, err := c.service("network", openstack.NewNetworkV2)
		if err != nil {
			return "", err
		}
		var found []networks.Network
		for _, opts := range []networks.ListOpts{{ID: want}, {Name: want}} {
			pages, err := networks.List(neutron, opts).AllPages(ctx)
			if err != nil {
				return "", fmt.Errorf("look for network %q: %w", want, reason(err))
			}
			if found, err = networks.ExtractNetworks(pages); err != nil {
				return "", fmt.Errorf("look for network %q: %w", want, err)
			}
			if len(found) > 0 {
				break
			}
		}
		switch len(found) {
		case 0:
			return "", latent.Cannotf("the cloud has no network %q", want)
		case 1:
			return found[0].ID, nil
		}
		return "", latent.Cannotf("there are several networks %q: %s and %s; write the id of one", want, found[0].ID, found[1].ID)
	})
}

// volumeSize returns how many GiB the volume or snapshot with an id has.
func (c *cloud) volumeSize(ctx context.Context, kind, id string) (int, error) {
	return lookUp(ctx, c.looked, kind+" "+id, othersStand, func(ctx context.Context) (size int, err error) {
		cinder, err := c.service("block storage", openstack.NewBlockStorageV3)
		if err != nil {
			return 0, err
		}
		if kind == "volume" {
			var v *volumes.Volume
			if v, err = volumes.Get(ctx, cinder, url.PathEscape(id)).Extract(); err == nil {
				size = v.Size
			}
		} else {
			var s *snapshots.Snapshot
			if s, err = snapshots.Get(ctx, cinder, url.PathEscape(id)).Extract(); err == nil {
				size = s.Size
			}
		}
		switch err = reason(err); {
		case status(err) == http.StatusNotFound:
			return 0, latent.Cannotf("the cloud has no %s %q", kind, id)
		case err != nil:
			return 0, fmt.Errorf("look at %s %q: %w", kind, id, err)
		}
		return size, nil
	})
}
