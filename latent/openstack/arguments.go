package openstack

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"buildstar/config/prop"
	"buildstar/latent"
)

// The metadata that every server has.
const (
	tagMaster  = "buildstar.master"
	tagWorker  = "buildstar.worker"
	tagAttempt = "buildstar.attempt"
)

// wanted are the arguments of a server, read and checked.
type wanted struct {
	flavor         string
	image          string // "": what the function chooses, or none
	devices        []device
	meta           map[string]string
	nova           map[string]any // by novaclient's names
	networks       []string
	securityGroups []string
	keyName        string
	zone           string
	userData       *string
}

// read reads what Render returned, maybe long ago.
func (p *Params) read(a latent.Arguments) (*wanted, error) {
	var w wanted
	var errs []error
	w.flavor = argument[string](&errs, a, "flavor")
	w.image = orZero(argument[*string](&errs, a, "image"))
	devices := argument[[]map[string]any](&errs, a, "block_devices")
	w.meta = argument[map[string]string](&errs, a, "meta")
	w.nova = argument[map[string]any](&errs, a, "nova_args")
	w.networks = argument[[]string](&errs, a, "networks")
	w.securityGroups = argument[[]string](&errs, a, "security_groups")
	w.keyName = orZero(argument[*string](&errs, a, "key_name"))
	w.zone = orZero(argument[*string](&errs, a, "availability_zone"))
	w.userData = argument[*string](&errs, a, "user_data")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var err error
	if w.devices, err = readDevices(devices); err != nil {
		return nil, fmt.Errorf("block_devices: %w", err)
	}
	if err := checkMeta(w.meta); err != nil {
		return nil, fmt.Errorf("meta: %w", err)
	}
	v, err := readVersion(p.ClientVersion)
	if err != nil {
		return nil, err
	}
	if errs := checkNovaArgs(w.nova, v); errs != nil {
		return nil, fmt.Errorf("nova_args: %w", errors.Join(errs...))
	}
	switch {
	case w.flavor == "":
		return nil, errors.New("flavor: the name is empty")
	case w.image == "" && p.Image.Function == nil && len(w.devices) == 0:
		return nil, errors.New("there is neither image nor block_devices")
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

var metaKey = regexp.MustCompile(`^[a-zA-Z0-9_:. -]{1,255}$`)

// checkMeta checks what Nova takes as metadata.
func checkMeta(meta map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		switch {
		case k == tagMaster, k == tagWorker, k == tagAttempt:
			return fmt.Errorf("%q is what the master finds its servers by; choose another name", k)
		case !metaKey.MatchString(k):
			return fmt.Errorf("%q: a name has 1 to 255 letters, digits, -, _, :, . and spaces", k)
		case len(meta[k]) > 255:
			return fmt.Errorf("%q: the text has %d bytes, at most 255 are possible", k, len(meta[k]))
		}
	}
	return nil
}

// A device is a disk of a server, as block_devices has it.
type device struct {
	source, uuid, destination, name string
	size                            int // in GiB; 0: to be found out
	bootIndex                       int64
	keep                            bool // it outlives the server
	more                            map[string]any
}

var (
	sources      = []string{"blank", "image", "snapshot", "volume"}
	destinations = []string{"local", "volume"}
	deviceKeys   = []string{
		"boot_index", "delete_on_termination", "destination_type", "device_name", "device_type", "disk_bus", "guest_format",
		"source_type", "tag", "uuid", "volume_size", "volume_type",
	}
)

// readDevices reads block_devices, with their defaults (B7).
func readDevices(list []map[string]any) ([]device, error) {
	var out []device
	for i, d := range list {
		read, err := readDevice(d)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		out = append(out, read)
	}
	return out, nil
}

func readDevice(d map[string]any) (device, error) {
	for _, k := range slices.Sorted(maps.Keys(d)) {
		if !slices.Contains(deviceKeys, k) {
			return device{}, unknownKey(k, deviceKeys)
		}
	}
	var errs []error
	out := device{
		source: entry(&errs, d, "source_type", "image"), destination: entry(&errs, d, "destination_type", "volume"),
		uuid: entry(&errs, d, "uuid", ""), name: entry(&errs, d, "device_name", "vda"), bootIndex: entry(&errs, d, "boot_index", int64(0)),
		size: int(entry(&errs, d, "volume_size", int64(0))), keep: !entry(&errs, d, "delete_on_termination", true), more: map[string]any{},
	}
	for _, k := range []string{"device_type", "disk_bus", "guest_format", "tag", "volume_type"} {
		if s := entry(&errs, d, k, ""); s != "" {
			out.more[k] = s
		}
	}
	switch {
	case errs != nil:
	case !slices.Contains(sources, out.source):
		errs = append(errs, fmt.Errorf("source_type: %w", unknownKey(out.source, sources)))
	case !slices.Contains(destinations, out.destination):
		errs = append(errs, fmt.Errorf("destination_type: %w", unknownKey(out.destination, destinations)))
	case out.uuid == "" && out.source != "blank":
		errs = append(errs, fmt.Errorf("there is no uuid of the %s", out.source))
	case out.size == 0 && out.source == "blank":
		errs = append(errs, errors.New("a blank disk needs its volume_size"))
	case out.size < 0:
		errs = append(errs, fmt.Errorf("volume_size: want GiB, got %d", out.size))
	}
	return out, errors.Join(errs...)
}

// entry reads an item of a dict that may be missing or None.
func entry[T any](errs *[]error, d map[string]any, key string, none T) T {
	v, ok := d[key]
	if !ok || v == nil {
		return none
	}
	t, err := prop.Convert[T](v)
	if err != nil {
		*errs = append(*errs, fmt.Errorf("%s: %w", key, err))
	}
	return t
}

// variables are what user_data can name.
func variables(in latent.Launch) [][2]string {
	host := in.Host
	if in.TLS {
		host = "wss://" + strings.TrimSuffix(in.Address(), fmt.Sprintf(":%d", in.Port))
	}
	return [][2]string{
		{"BUILDMASTER", host}, {"BUILDMASTER_PORT", fmt.Sprint(in.Port)}, {"BUILDMASTER_PROTOCOL", "msgpack_experimental_v7"},
		{"WORKERNAME", in.Worker}, {"WORKERPASS", in.Password},
	}
}

// fill returns the user data of a server.
func (p *Params) fill(template *string, in latent.Launch) string {
	if template == nil {
		var b strings.Builder
		for _, v := range variables(in) {
			if v[0] != "WORKERPASS" || p.OwnPassword {
				fmt.Fprintf(&b, "%s=%s\n", v[0], v[1])
			}
		}
		return b.String()
	}
	var pairs []string
	for _, v := range variables(in) {
		pairs = append(pairs, "${"+v[0]+"}", v[1])
	}
	return strings.NewReplacer(pairs...).Replace(*template)
}
