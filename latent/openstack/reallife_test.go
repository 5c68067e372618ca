package openstack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"

	"buildstar/internal/openstacktest"
	"buildstar/latent"
)

// Many workers start at once; each has its server, and what is left in the end is nothing.
func TestRealParallelStarts(t *testing.T) {
	r, cloud := newReal(t, fmt.Sprintf("image=%q, networks=[%q]", testImage, testNetwork))
	const many = 6
	var wg sync.WaitGroup
	for i := range many {
		l, err := r.launch(nil)
		if err != nil {
			t.Fatal(err)
		}
		l.Worker = fmt.Sprint("w", i)
		b, err := r.params.Open(r.env)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if _, err := b.Start(r.ctx, l); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	refs, err := r.b.List(r.ctx)
	if err != nil || len(refs) != many || cloud.alive(t, r.env.Master) != many {
		t.Errorf("there are %+v, %v", refs, err)
	}
	for _, ref := range refs {
		if good, message, err := r.b.Check(r.ctx, ref); !good || message != "" || err != nil {
			t.Errorf("%s: %v, %q, %v", ref.Worker, good, message, err)
		}
		wg.Go(func() { r.stop(ref) })
	}
	wg.Wait()
}

// What a server is asked for with is what Nova has.
func TestRealArguments(t *testing.T) {
	r, cloud := newReal(t, fmt.Sprintf(`image=%q, networks=[%q], meta={"role": util.Property("role")}, config_drive=True, availability_zone="nova",
		security_groups=["default"], client_version="2.60", nova_args={"description": "of tests", "tags": ["ci"], "scheduler_hints": {}}`, testImage, testNetwork))
	ref, _, err := r.tryStart(map[string]any{"role": "builder"})
	if err != nil {
		t.Fatal(err)
	}
	nova := *cloud.nova
	nova.Microversion = "2.60"
	got := servers.Get(t.Context(), &nova, ref.Handle)
	s, err := got.Extract()
	if err != nil {
		t.Fatal(err)
	}
	var more struct{ Description string }
	if err := got.ExtractInto(&more); err != nil {
		t.Fatal(err)
	}
	if s.Name != "w_1" || s.Metadata["role"] != "builder" || s.Metadata[tagMaster] != r.env.Master || s.Metadata[tagAttempt] != "1" || !s.ConfigDrive ||
		s.AvailabilityZone != "nova" || more.Description != "of tests" || (*s.Tags)[0] != "ci" || len(s.Addresses[testNetwork].([]any)) != 1 {
		t.Errorf("%+v", s)
	}
}

// A server boots from a volume that is made of the image, and both are gone in the end (B7).
func TestRealVolumes(t *testing.T) {
	r, cloud := newReal(t, fmt.Sprintf(`networks=[%q], block_devices=[{"uuid": %q}]`, testNetwork, testImage))
	ref := r.start()
	s, err := servers.Get(t.Context(), cloud.nova, ref.Handle).Extract()
	if err != nil || len(s.AttachedVolumes) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	v, err := volumes.Get(t.Context(), cloud.cinder, s.AttachedVolumes[0].ID).Extract()
	if err != nil || v.Size != 1 || v.VolumeImageMetadata["image_name"] != testImage {
		t.Errorf("volume %+v, %v", v, err)
	}
	r.stop(ref)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	for pause := newPause(); ; { // Cinder takes its time after Nova is done
		pages, err := volumes.List(cloud.cinder, volumes.ListOpts{}).AllPages(ctx)
		if err != nil {
			t.Fatal(err)
		}
		left, err := volumes.ExtractVolumes(pages)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(fmt.Sprint(left), v.ID) {
			return
		}
		if err := pause.wait(ctx); err != nil {
			t.Fatalf("volume %s is left", v.ID)
		}
	}
}

// A function sees the images as they are: one that was made since, and not one that is gone.
func TestRealImageFunction(t *testing.T) {
	r, cloud := newReal(t, fmt.Sprintf("image=%q", testImage))
	name := fmt.Sprint("made-", time.Now().UnixNano())
	p := evaluate(t, fmt.Sprintf(`
def find_image(images):
    mine = [i for i in images if i.name.startswith(%q) and i.properties["made_by"] == "tests"]
    if not mine:
        fail_to_substantiate("no image yet")
    return sorted(mine, key = lambda i: i.created)[-1]
x = worker.OpenStackLatentWorker("w_1", None, %q, image = find_image, networks = [%q], %s)`, name, testFlavor, testNetwork, realAccount(t))).Latent.Backend.(*Params)
	r.open(p)
	image := func() string {
		t.Helper()
		ref, _, err := r.tryStart(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.stop(ref)
		s, err := servers.Get(t.Context(), cloud.nova, ref.Handle).Extract()
		if err != nil {
			t.Fatal(err)
		}
		return s.Image["id"].(string)
	}
	if _, _, err := r.tryStart(nil); err == nil || err.Error() != "no image yet" || errors.Is(err, latent.ErrCannotSubstantiate) {
		t.Errorf("without an image: %v", err)
	}
	c, err := r.b.cloud(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	first := cloud.upload(t, name+"-1")
	c.looked.forget(time.Now()) // instead of the ten seconds
	if got := image(); got != first {
		t.Errorf("of image %s, want %s", got, first)
	}
	second := cloud.upload(t, name+"-2")
	c.looked.forget(time.Now())
	if got := image(); got != second {
		t.Errorf("of image %s, want %s", got, second)
	}
	if err := images.Delete(t.Context(), cloud.glance, second).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if got := image(); got != first { // though the list was read a moment ago
		t.Errorf("of image %s, want %s", got, first)
	}
	if err := images.Delete(t.Context(), cloud.glance, first).ExtractErr(); err != nil {
		t.Fatal(err)
	}
}

// A token that the services do not take any more is renewed. Which is not said by revoking it:
// they remember for minutes which tokens were good.
func TestRealTokenIsBad(t *testing.T) {
	r, _ := newReal(t, fmt.Sprintf("image=%q, networks=[%q]", testImage, testNetwork))
	spoil := func() {
		t.Helper()
		c, err := r.b.cloud(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		c.provider.SetToken("spoilt")
	}
	ref := r.start()
	spoil()
	if good, message, err := r.b.Check(r.ctx, ref); !good || message != "" || err != nil {
		t.Errorf("check: %v, %q, %v", good, message, err)
	}
	spoil()
	r.stop(ref)
	spoil()
	r.stop(r.start())
}

// An application credential is all that it takes.
func TestRealApplicationCredential(t *testing.T) {
	r, cloud := newReal(t, fmt.Sprintf("image=%q", testImage))
	auth, ok := cloud.keystone.GetAuthResult().(tokens.CreateResult)
	if !ok {
		t.Fatal("there is no token")
	}
	user, err := auth.ExtractUser()
	if err != nil {
		t.Fatal(err)
	}
	secret := fmt.Sprint("s", time.Now().UnixNano())
	made, err := applicationcredentials.Create(t.Context(), cloud.keystone, user.ID, applicationcredentials.CreateOpts{Name: secret, Secret: secret}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{
		fmt.Sprintf(`"application_credential_id": %q`, made.ID), fmt.Sprintf(`"application_credential_name": %q, "username": %q`, secret, openstacktest.User),
	} {
		r.declareReal(fmt.Sprintf(`image=%q, networks=[%q], os_auth_args={"auth_type": "v3applicationcredential", "auth_url": %q, %s, "application_credential_secret": %q}`,
			testImage, testNetwork, openstacktest.AuthURL(t), who, secret))
		r.stop(r.start())
	}
}
