// Package openstack runs latent workers in servers of an OpenStack cloud
// (docs/requirements.md A12, B7, D2.7, D2.8).
//
// A server has the name of its worker, and metadata that say which master started it, for
// which worker and which attempt: by these it is found when nobody wrote down its id. All
// that is asked of the cloud is asked while a server is started or stopped, never to decide
// which build it serves.
package openstack

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"buildstar/builtins/worker"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/starlark/spec"
)

// Worker is worker.OpenStackLatentWorker (docs/requirements.md A12, B3, B7).
var Worker = &spec.Class{
	Module: "worker", Name: "OpenStackLatentWorker",
	New: func() any {
		return &openStackWorker{Latent: worker.LatentDefaults(), Params: Params{ClientVersion: "2"}}
	},
	Unsupported: worker.LatentUnsupported(), Renamed: worker.Renamed(), Partial: true,
}

// openStackWorker is a worker that runs in a server of an OpenStack cloud, which the master
// creates when a build needs it.
type openStackWorker struct {
	// Name identifies the worker, as worker.Worker's does. It is the name of the server too.
	Name string `star:"name"`
	// Password is what the worker logs in with. None makes a random one for each server,
	// which gets it as ${WORKERPASS} in user_data.
	Password *prop.Credential `star:"password"`
	Params
	worker.Latent `star:",kw"`
}

// Params is what master.star says of the servers of a worker.
type Params struct {
	// Flavor is the name or the id of the flavor.
	Flavor prop.Template[Name] `star:"flavor"`
	// OsUsername is the user who creates the servers.
	OsUsername Text `star:"os_username,optional"`
	// OsPassword is the password of that user.
	OsPassword Text `star:"os_password,optional,secret"`
	// OsTenantName is the project that the servers belong to.
	OsTenantName Text `star:"os_tenant_name,optional"`
	// OsAuthURL is the address of Keystone: https://cloud.example.org:5000/v3. One that ends
	// in /v2.0 means version 3 at the same place, since there is no other any more.
	OsAuthURL Text `star:"os_auth_url,optional"`
	// OsUserDomain is the name of the user's domain; the default is the one with the id
	// "default".
	OsUserDomain Text `star:"os_user_domain,optional"`
	// OsProjectDomain is the name of the project's domain; the default is the one with the id
	// "default".
	OsProjectDomain Text `star:"os_project_domain,optional"`
	// OsAuthArgs takes the place of all os_ arguments before it: auth_type, which is
	// password, token, v3applicationcredential or v3totp, and what that needs, by the names
	// that keystoneauth has: auth_url, username, password, project_name, user_domain_name,
	// application_credential_id, application_credential_secret ...
	OsAuthArgs AuthArgs `star:"os_auth_args,optional,secret"`
	// BlockDevices are disks of the server: a list of dicts of uuid, volume_size (in GiB; the
	// default is what the source needs), device_name (vda), source_type (image, volume,
	// snapshot or blank), destination_type (volume or local), delete_on_termination (True) and
	// boot_index (0). With the defaults the server boots from a volume that is made of an
	// image and deleted with the server.
	BlockDevices prop.Template[*[]map[string]any] `star:"block_devices,optional"`
	// Region is the region of the cloud; the default is the first that its catalog has.
	Region *string `star:"region,optional"`
	// Image is the name or the id of the image, or a function that gets the list of the
	// images that can be used and returns one of them. They have the attributes id, name,
	// created, updated, status, visibility, min_disk, min_ram, size, tags and properties.
	Image Selector `star:"image,optional"`
	// Meta are texts by name that the server finds at the metadata service.
	Meta prop.Template[*map[string]string] `star:"meta,optional"`
	// NovaArgs are further arguments of the request that creates a server, by the names that
	// Python's novaclient has for them: {"availability_zone": "nova", "scheduler_hints":
	// {"group": ID}}.
	NovaArgs prop.Template[*map[string]any] `star:"nova_args,optional"`
	// ClientVersion is that of the compute API: "2", or "2.60" for what a later microversion
	// brought.
	ClientVersion string `star:"client_version,optional"`
	// OsCloud is the name of a cloud in clouds.yaml. It takes the place of all other
	// arguments that say who logs in, and where.
	OsCloud string `star:"os_cloud,optional,kw"`
	// OsClientConfigFile is the path of clouds.yaml; a relative one is below the master's
	// basedir. The default is to look where OpenStack's own programs do. A secure.yaml beside
	// it counts too.
	OsClientConfigFile string `star:"os_client_config_file,optional,kw"`
	// OsCACert is a file with the authorities that the cloud's certificate is checked with,
	// if they are not those that the system trusts. A relative path is below the master's
	// basedir.
	OsCACert string `star:"os_cacert,optional,kw"`
	// OsInterface is which of the addresses in the catalog to use.
	OsInterface string `star:"os_interface,optional,kw" oneof:"public|internal|admin"`
	// Networks are the names or ids of the networks that the server is in. The default leaves
	// it to the cloud, which knows what to do if the project has one network.
	Networks prop.Template[*[]string] `star:"networks,optional,kw"`
	// SecurityGroups are the names of the security groups of the server.
	SecurityGroups prop.Template[*[]string] `star:"security_groups,optional,kw"`
	// KeyName is the name of the key pair that may log in to the server.
	KeyName prop.Template[*string] `star:"key_name,optional,kw"`
	// AvailabilityZone is where the server is to be.
	AvailabilityZone prop.Template[*string] `star:"availability_zone,optional,kw"`
	// ConfigDrive says whether the server gets its metadata on a disk too, for clouds without
	// a metadata service.
	ConfigDrive bool `star:"config_drive,optional,kw"`
	// UserData is what cloud-init or the image itself finds as user data. ${BUILDMASTER},
	// ${BUILDMASTER_PORT}, ${BUILDMASTER_PROTOCOL}, ${WORKERNAME} and ${WORKERPASS} are filled
	// in. The default is a line NAME=VALUE for each, the password only if it is random.
	UserData prop.Template[*string] `star:"user_data,optional,kw"`
	// OwnPassword is whether each server has a random password.
	OwnPassword bool

	transport http.RoundTripper // of tests; nil: the network
}

var _ latent.Params = (*Params)(nil)

// Make makes the node.
func (w *openStackWorker) Make(c *spec.Call) any {
	problem := func(param, text, hint string) { c.Problem("bad-value", param, text, hint) }
	if !c.Bad("os_auth_args") && !c.Bad("os_cloud") {
		w.checkAccount(func(param, text, hint string) { c.Problem("missing-argument", param, text, hint) })
	}
	if v, plain := w.Flavor.Plain(); plain && w.Flavor.IsSet() && v == "" {
		problem("flavor", "the name is empty", "")
	}
	devices, plainDevices := w.BlockDevices.Plain()
	if !w.Image.IsSet() && plainDevices && len(orZero(devices)) == 0 {
		c.Problem("missing-argument", "", "there is neither image nor block_devices", `add image="NAME"`)
	}
	if plainDevices {
		if _, err := readDevices(orZero(devices)); err != nil {
			problem("block_devices", err.Error(), "")
		}
	}
	version, err := readVersion(w.ClientVersion)
	if err != nil {
		problem("client_version", err.Error(), `write "2", or one such as "2.60"`)
	}
	if v, plain := w.Meta.Plain(); plain {
		if err := checkMeta(orZero(v)); err != nil {
			problem("meta", err.Error(), "")
		}
	}
	if v, plain := w.NovaArgs.Plain(); plain && err == nil {
		for _, err := range checkNovaArgs(orZero(v), version) {
			problem("nova_args", err.Error(), "")
		}
	}
	if w.OsClientConfigFile != "" && w.OsCloud == "" {
		problem("os_client_config_file", "os_cloud does not say which cloud of the file", `add os_cloud="NAME"`)
	}
	w.OwnPassword = w.Password == nil
	return w.LatentNode(c, "OpenStackLatentWorker", w.Name, w.Password, &w.Params, w.Varies())
}

// Kind returns "openstack".
func (p *Params) Kind() string { return "openstack" }

// A Name is the name or id of something: a string, or a number as flavors had once.
type Name string

// TypeName is what messages call it.
func (Name) TypeName() string { return "string" }

// FromValue reads a string or an int.
func (n *Name) FromValue(v any) error {
	switch v := v.(type) {
	case string:
		*n = Name(v)
	case int64:
		*n = Name(strconv.FormatInt(v, 10))
	default:
		return fmt.Errorf("want string, got %s", prop.Describe(v))
	}
	return nil
}

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
	case Name:
		return string(v)
	case *string:
		if v == nil {
			return nil
		}
		return *v
	case *[]string:
		return listOf(v)
	case *[]map[string]any:
		return listOf(v)
	case *map[string]string:
		m := make(map[string]any)
		for k, s := range orZero(v) {
			m[k] = s
		}
		return m
	case *map[string]any:
		if m := orZero(v); m != nil {
			return m
		}
		return map[string]any{}
	}
	return v
}

func listOf[T any](v *[]T) any {
	l := []any{}
	for _, e := range orZero(v) {
		l = append(l, e)
	}
	return l
}

func orZero[T any](v *T) (t T) {
	if v != nil {
		t = *v
	}
	return t
}

// renderings are what makes servers differ (B7). What a function chooses among the images
// depends on these, not on a build.
func (p *Params) renderings() []rendering {
	return []rendering{
		renderingOf("flavor", p.Flavor), renderingOf("image", p.Image.name), renderingOf("block_devices", p.BlockDevices),
		renderingOf("meta", p.Meta), renderingOf("nova_args", p.NovaArgs), renderingOf("networks", p.Networks),
		renderingOf("security_groups", p.SecurityGroups), renderingOf("key_name", p.KeyName),
		renderingOf("availability_zone", p.AvailabilityZone), renderingOf("user_data", p.UserData),
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

// Render returns the arguments of a server for a build, checked. It asks nobody.
func (p *Params) Render(ctx context.Context, props prop.Props) (latent.Arguments, error) {
	a := make(latent.Arguments)
	for _, r := range p.renderings() {
		v, err := r.value(ctx, sealing{props})
		if err != nil {
			return nil, err
		}
		a[r.name] = v
	}
	if _, err := p.read(a); err != nil {
		return nil, err
	}
	return a, nil
}

// version is a microversion of the compute API, 2.X: its X. latest is beyond all.
type version int

const (
	oldest version = 1 // what "2" is
	latest version = 1 << 20
)

var versionForm = regexp.MustCompile(`^2(\.([0-9]{1,4}|latest))?$`)

func readVersion(s string) (version, error) {
	if !versionForm.MatchString(s) {
		return 0, fmt.Errorf("%q is no version of the compute API", s)
	}
	_, minor, ok := strings.Cut(s, ".")
	switch {
	case !ok:
		return oldest, nil
	case minor == "latest":
		return latest, nil
	}
	n, err := strconv.Atoi(minor)
	return max(version(n), oldest), err
}

// header is how requests ask for it.
func (v version) header() string {
	switch v {
	case oldest:
		return ""
	case latest:
		return "latest"
	}
	return fmt.Sprintf("2.%d", v)
}
