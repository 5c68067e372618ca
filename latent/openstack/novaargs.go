package openstack

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"buildstar/config/prop"
)

// A novaArg is an argument of novaclient's create: how it is checked and put into the
// request, which is {"server": server} and what stands beside it.
type novaArg struct {
	since, until version // microversions that have it; 0: all
	put          func(server, beside map[string]any, v any) error
}

// put puts a value of one type at a field of the server.
func put[T any](field string) func(server, beside map[string]any, v any) error {
	return func(server, _ map[string]any, v any) error {
		t, err := prop.Convert[T](v)
		if err == nil {
			server[field] = t
		}
		return err
	}
}

// novaArgs are those that there are. What has an argument of its own in master.star can be
// here too, as in Buildbot.
var novaArgs = map[string]novaArg{
	"access_ip_v4":               {put: putAddress("accessIPv4")},
	"access_ip_v6":               {put: putAddress("accessIPv6")},
	"admin_pass":                 {put: put[string]("adminPass")},
	"availability_zone":          {put: put[string]("availability_zone")},
	"block_device_mapping_v2":    {put: putDevices},
	"config_drive":               {put: put[bool]("config_drive")},
	"description":                {since: 19, put: put[string]("description")},
	"disk_config":                {put: putDiskConfig},
	"files":                      {until: 56, put: putFiles},
	"host":                       {since: 74, put: put[string]("host")},
	"hostname":                   {since: 90, put: put[string]("hostname")},
	"hypervisor_hostname":        {since: 74, put: put[string]("hypervisor_hostname")},
	"key_name":                   {put: put[string]("key_name")},
	"nics":                       {put: putNICs},
	"scheduler_hints":            {put: putHints},
	"security_groups":            {put: putGroups},
	"tags":                       {since: 52, put: put[[]string]("tags")},
	"trusted_image_certificates": {since: 63, put: put[[]string]("trusted_image_certificates")},
	"userdata":                   {put: putUserData},
}

// refusedNovaArgs are novaclient's too, and would break what the master counts on.
var refusedNovaArgs = map[string]string{
	"block_device_mapping": "write block_devices",
	"flavor":               "write flavor",
	"image":                "write image",
	"max_count":            "a worker has one server",
	"meta":                 "write meta",
	"min_count":            "a worker has one server",
	"name":                 "the server has the name of its worker",
	"reservation_id":       "a worker has one server",
}

// checkNovaArgs returns what is wrong with nova_args, in order.
func checkNovaArgs(args map[string]any, v version) (errs []error) {
	for _, name := range slices.Sorted(maps.Keys(args)) {
		a, ok := novaArgs[name]
		if why := refusedNovaArgs[name]; why != "" {
			errs = append(errs, fmt.Errorf("%s: leave it out: %s", name, why))
			continue
		}
		if !ok {
			errs = append(errs, unknownKey(name, slices.Sorted(maps.Keys(novaArgs))))
			continue
		}
		switch {
		case v < a.since:
			errs = append(errs, fmt.Errorf("%s: write client_version=\"2.%d\" or newer, which brought it", name, a.since))
		case a.until > 0 && v > a.until:
			errs = append(errs, fmt.Errorf("%s: client_version 2.%d is the last that has it", name, a.until))
		}
		if nets, ok := args[name].(string); ok && name == "nics" && v < 37 && (nets == "auto" || nets == "none") {
			errs = append(errs, fmt.Errorf("nics: write client_version=\"2.37\" or newer, which brought %q", nets))
		}
		if err := a.put(map[string]any{}, map[string]any{}, args[name]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errs
}

// putNovaArgs puts them into a request. They were checked.
func putNovaArgs(server, beside, args map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if err := novaArgs[name].put(server, beside, args[name]); err != nil {
			return fmt.Errorf("nova_args: %s: %w", name, err)
		}
	}
	return nil
}

func putAddress(field string) func(server, beside map[string]any, v any) error {
	return func(server, _ map[string]any, v any) error {
		s, err := prop.Convert[string](v)
		if err == nil {
			_, err = netip.ParseAddr(s)
		}
		if err == nil {
			server[field] = s
		}
		return err
	}
}

func putDiskConfig(server, _ map[string]any, v any) error {
	s, _ := v.(string)
	if s != "AUTO" && s != "MANUAL" {
		return fmt.Errorf("want AUTO or MANUAL, got %s", prop.Describe(v))
	}
	server["OS-DCF:diskConfig"] = s
	return nil
}

// putFiles takes a dict of path and text.
func putFiles(server, _ map[string]any, v any) error {
	files, err := prop.Convert[map[string]string](v)
	if err != nil {
		return err
	}
	list := []any{}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		list = append(list, map[string]any{"path": path, "contents": base64.StdEncoding.EncodeToString([]byte(files[path]))})
	}
	server["personality"] = list
	return nil
}

func putGroups(server, _ map[string]any, v any) error {
	names, err := prop.Convert[[]string](v)
	if err != nil {
		return err
	}
	list := []any{}
	for _, name := range names {
		list = append(list, map[string]any{"name": name})
	}
	server["security_groups"] = list
	return nil
}

func putHints(_, beside map[string]any, v any) error {
	hints, err := prop.Convert[map[string]any](v)
	if err == nil {
		beside["os:scheduler_hints"] = hints
	}
	return err
}

func putUserData(server, _ map[string]any, v any) error {
	s, err := prop.Convert[string](v)
	if err == nil {
		server["user_data"] = base64.StdEncoding.EncodeToString([]byte(s))
	}
	return err
}

// putDevices takes what the API itself calls block_device_mapping_v2.
func putDevices(server, _ map[string]any, v any) error {
	list, err := prop.Convert[[]map[string]any](v)
	if err == nil {
		server["block_device_mapping_v2"] = list
	}
	return err
}

// nicKeys are what novaclient takes, and the API's names of them.
var nicKeys = map[string]string{"net-id": "uuid", "port-id": "port", "v4-fixed-ip": "fixed_ip", "v6-fixed-ip": "fixed_ip", "tag": "tag"}

// putNICs takes a list of dicts, or "auto" or "none".
func putNICs(server, _ map[string]any, v any) error {
	if s, ok := v.(string); ok && (s == "auto" || s == "none") {
		server["networks"] = s
		return nil
	}
	list, err := prop.Convert[[]map[string]string](v)
	if err != nil {
		return err
	}
	nets := []any{}
	for i, nic := range list {
		net := map[string]any{}
		for _, k := range slices.Sorted(maps.Keys(nic)) {
			field := nicKeys[k]
			if field == "" {
				return fmt.Errorf("item %d: %w", i+1, unknownKey(k, slices.Sorted(maps.Keys(nicKeys))))
			}
			net[field] = nic[k]
		}
		if net["uuid"] == nil && net["port"] == nil {
			return fmt.Errorf("item %d: there is neither net-id nor port-id", i+1)
		}
		nets = append(nets, net)
	}
	server["networks"] = nets
	return nil
}

// sealed marks where a secret is in a text, so that the ledger has its name only.
const sealed = "\x00secret:%s\x00"

// unseal puts secrets into all texts of a value.
func unseal(v any, reveal func(name string) (string, error)) (any, error) {
	switch v := v.(type) {
	case string:
		return unsealText(v, reveal)
	case []any:
		out := make([]any, len(v))
		var err error
		for i, e := range v {
			if out[i], err = unseal(e, reveal); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		var err error
		for k, e := range v {
			if out[k], err = unseal(e, reveal); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

func unsealText(s string, reveal func(string) (string, error)) (string, error) {
	before, after, _ := strings.Cut(sealed, "%s")
	var b strings.Builder
	for {
		text, rest, ok := strings.Cut(s, before)
		b.WriteString(text)
		if !ok {
			return b.String(), nil
		}
		name, rest, ok := strings.Cut(rest, after)
		if !ok {
			return "", errors.New("a text has a zero byte")
		}
		secret, err := reveal(name)
		if err != nil {
			return "", err
		}
		b.WriteString(secret)
		s = rest
	}
}
