package openstack

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	gopheropenstack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"

	"buildstar/internal/openstacktest"
	"buildstar/latent"
	"buildstar/latent/latenttest"
)

// What the tests find in the cloud, made once.
const (
	testImage   = "guest"
	testFlavor  = "ci-small"
	hugeFlavor  = "ci-huge" // no host has that much memory
	testNetwork = "ci-net"
)

var furnish sync.Once

// real is a look at the control plane past the backend.
type real struct {
	keystone, nova, glance, neutron, cinder *gophercloud.ServiceClient
}

// connectReal connects to the control plane, or skips the test; the first has it furnished.
func connectReal(t *testing.T) *real {
	t.Helper()
	url := openstacktest.AuthURL(t)
	p, err := gopheropenstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{
		IdentityEndpoint: url, Username: openstacktest.User, Password: openstacktest.Password, DomainID: "default", TenantName: openstacktest.Project,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.HTTPClient.CloseIdleConnections)
	var r real
	at := gophercloud.EndpointOpts{Region: openstacktest.Region}
	must := func(c *gophercloud.ServiceClient, err error) *gophercloud.ServiceClient {
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	r.keystone, r.nova, r.glance = must(gopheropenstack.NewIdentityV3(p, at)), must(gopheropenstack.NewComputeV2(p, at)), must(gopheropenstack.NewImageV2(p, at))
	r.neutron, r.cinder = must(gopheropenstack.NewNetworkV2(p, at)), must(gopheropenstack.NewBlockStorageV3(p, at))
	furnish.Do(func() { r.furnish(t) })
	return &r
}

// furnish makes what tests use, if it is not there.
func (r *real) furnish(t *testing.T) {
	t.Helper()
	check := func(what string, err error) {
		if err != nil && !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	disk := 0
	for name, ram := range map[string]int{testFlavor: 128, hugeFlavor: 1 << 30} {
		_, err := flavors.Create(t.Context(), r.nova, flavors.CreateOpts{ID: name + "-id", Name: name, RAM: ram, VCPUs: 1, Disk: &disk}).Extract()
		check("make flavor", err)
	}
	pages, err := networks.List(r.neutron, networks.ListOpts{Name: testNetwork}).AllPages(t.Context())
	check("list networks", err)
	have, err := networks.ExtractNetworks(pages)
	check("list networks", err)
	if len(have) > 0 {
		return
	}
	n, err := networks.Create(t.Context(), r.neutron, networks.CreateOpts{Name: testNetwork}).Extract()
	check("make network", err)
	_, err = subnets.Create(t.Context(), r.neutron, subnets.CreateOpts{NetworkID: n.ID, CIDR: "10.77.0.0/16", IPVersion: 4}).Extract()
	check("make subnet", err)
	r.upload(t, testImage)
}

// upload makes an image.
func (r *real) upload(t *testing.T, name string) string {
	t.Helper()
	i, err := images.Create(t.Context(), r.glance, images.CreateOpts{
		Name: name, ContainerFormat: "bare", DiskFormat: "raw", Properties: map[string]string{"made_by": "tests"},
	}).Extract()
	if err == nil {
		err = imagedata.Upload(t.Context(), r.glance, i.ID, strings.NewReader(strings.Repeat("x", 1<<10))).ExtractErr()
	}
	if err != nil {
		t.Fatalf("make image: %v", err)
	}
	return i.ID
}

// alive returns how many servers carry the tag of a master, as Nova says it.
func (r *real) alive(t *testing.T, master string) (n int) {
	t.Helper()
	pages, err := servers.List(r.nova, servers.ListOpts{AllTenants: true}).AllPages(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	all, err := servers.ExtractServers(pages)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Metadata[tagMaster] == master {
			n++
		}
	}
	return n
}

// realAccount are the arguments that log in at the control plane.
func realAccount(t *testing.T) string {
	return fmt.Sprintf("os_username=%q, os_password=%q, os_tenant_name=%q, os_auth_url=%q", openstacktest.User, openstacktest.Password,
		openstacktest.Project, openstacktest.AuthURL(t))
}

// newReal makes a backend at the control plane; args follow flavor and account.
func newReal(t *testing.T, args string) (*rig, *real) {
	t.Helper()
	cloud := connectReal(t)
	r := &rig{t: t, env: latent.Env{Master: "M" + strings.ReplaceAll(t.Name(), "/", "") + fmt.Sprint(time.Now().UnixNano()), Basedir: t.TempDir()}}
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithTimeout(context.Background(), patient)
	t.Cleanup(cancel)
	r.declareReal(args)
	t.Cleanup(func() {
		refs, err := r.b.List(r.ctx)
		for _, ref := range refs {
			r.stop(ref)
		}
		if n := cloud.alive(t, r.env.Master); n != 0 || err != nil {
			t.Errorf("%d servers are left, %v", n, err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", &r.log)
		}
	})
	return r, cloud
}

func (r *rig) declareReal(args string) {
	r.t.Helper()
	if !strings.Contains(args, "flavor") {
		args = fmt.Sprintf("flavor=%q, ", testFlavor) + args
	}
	if !strings.Contains(args, "os_") {
		args = realAccount(r.t) + ", " + args
	}
	r.open(declare(r.t, `"w_1", None, `+args).Latent.Backend.(*Params))
}

func TestConformance(t *testing.T) {
	latenttest.Exercise(t, func(t *testing.T) latenttest.Subject {
		t.Parallel()
		r, cloud := newReal(t, fmt.Sprintf("image=%q, networks=[%q]", testImage, testNetwork))
		if seed := latenttest.Inherited(); seed != "" {
			r.env.Master = seed
		}
		return latenttest.Subject{
			Params: r.params, Env: r.env, Seed: r.env.Master,
			Alive: func(t *testing.T) int { return cloud.alive(t, r.env.Master) },
			Kill: func(t *testing.T, ref latent.Ref) {
				if err := servers.Delete(t.Context(), cloud.nova, ref.Handle).ExtractErr(); err != nil {
					t.Error(err)
				}
			},
		}
	})
}
