package docker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"buildstar/config/prop"
)

// A setting is one key of hostconfig: the field of the engine's API that it sets, and how its
// value is read.
type setting struct {
	field string
	read  func(v any) (any, error)
}

// settings are the arguments of create_host_config of Python's docker package, which
// Buildbot's hostconfig has for keys.
var settings = map[string]setting{
	"auto_remove":         {"", readAutoRemove},
	"binds":               {"", refuse("write them as the argument volumes")},
	"blkio_weight":        {"BlkioWeight", as[int64]},
	"blkio_weight_device": {"BlkioWeightDevice", as[[]map[string]any]},
	"cap_add":             {"CapAdd", as[[]string]},
	"cap_drop":            {"CapDrop", as[[]string]},
	"cgroup_parent":       {"CgroupParent", as[string]},
	"cgroupns":            {"CgroupnsMode", as[string]},
	"cpu_count":           {"CpuCount", as[int64]},
	"cpu_percent":         {"CpuPercent", as[int64]},
	"cpu_period":          {"CpuPeriod", as[int64]},
	"cpu_quota":           {"CpuQuota", as[int64]},
	"cpu_rt_period":       {"CpuRealtimePeriod", as[int64]},
	"cpu_rt_runtime":      {"CpuRealtimeRuntime", as[int64]},
	"cpu_shares":          {"CpuShares", as[int64]},
	"cpuset_cpus":         {"CpusetCpus", as[string]},
	"cpuset_mems":         {"CpusetMems", as[string]},
	"device_cgroup_rules": {"DeviceCgroupRules", as[[]string]},
	"device_read_bps":     {"BlkioDeviceReadBps", as[[]map[string]any]},
	"device_read_iops":    {"BlkioDeviceReadIOps", as[[]map[string]any]},
	"device_requests":     {"DeviceRequests", as[[]map[string]any]},
	"device_write_bps":    {"BlkioDeviceWriteBps", as[[]map[string]any]},
	"device_write_iops":   {"BlkioDeviceWriteIOps", as[[]map[string]any]},
	"devices":             {"Devices", readDevices},
	"dns":                 {"Dns", as[[]string]},
	"dns_opt":             {"DnsOptions", as[[]string]},
	"dns_search":          {"DnsSearch", as[[]string]},
	"extra_hosts":         {"ExtraHosts", pairs(":")},
	"group_add":           {"GroupAdd", readGroups},
	"init":                {"Init", as[bool]},
	"init_path":           {"", refuse("engines do not know it any more")},
	"ipc_mode":            {"IpcMode", as[string]},
	"isolation":           {"Isolation", as[string]},
	"kernel_memory":       {"KernelMemory", readSize},
	"links":               {"Links", pairs(":")},
	"log_config":          {"LogConfig", readLogConfig},
	"lxc_conf":            {"", refuse("engines do not know it any more")},
	"mem_limit":           {"Memory", readSize},
	"mem_reservation":     {"MemoryReservation", readSize},
	"mem_swappiness":      {"MemorySwappiness", as[int64]},
	"memswap_limit":       {"MemorySwap", readSize},
	"mounts":              {"Mounts", as[[]map[string]any]},
	"nano_cpus":           {"NanoCpus", as[int64]},
	"network_mode":        {"NetworkMode", as[string]},
	"oom_kill_disable":    {"OomKillDisable", as[bool]},
	"oom_score_adj":       {"OomScoreAdj", as[int64]},
	"pid_mode":            {"PidMode", as[string]},
	"pids_limit":          {"PidsLimit", as[int64]},
	"port_bindings":       {"PortBindings", readPorts},
	"privileged":          {"Privileged", as[bool]},
	"publish_all_ports":   {"PublishAllPorts", as[bool]},
	"read_only":           {"ReadonlyRootfs", as[bool]},
	"restart_policy":      {"RestartPolicy", as[map[string]any]},
	"runtime":             {"Runtime", as[string]},
	"security_opt":        {"SecurityOpt", as[[]string]},
	"shm_size":            {"ShmSize", readSize},
	"storage_opt":         {"StorageOpt", as[map[string]string]},
	"sysctls":             {"Sysctls", readSysctls},
	"tmpfs":               {"Tmpfs", readTmpfs},
	"ulimits":             {"Ulimits", readUlimits},
	"userns_mode":         {"UsernsMode", as[string]},
	"uts_mode":            {"UTSMode", as[string]},
	"volume_driver":       {"VolumeDriver", as[string]},
	"volumes_from":        {"VolumesFrom", as[[]string]},
}

// checkHostKey reports a key that does not exist.
func checkHostKey(key string) error {
	if _, ok := settings[key]; ok {
		return nil
	}
	if near := prop.Nearest(key, slices.Sorted(maps.Keys(settings))); near != "" {
		return fmt.Errorf("there is no %q; did you mean %q?", key, near)
	}
	return fmt.Errorf("there is no %q; the keys are those of create_host_config of Python's docker package", key)
}

// hostFields makes fields of the engine's API of a hostconfig, and reports everything that is
// wrong with it. None is the engine's default.
func hostFields(hostconfig map[string]any) (map[string]any, error) {
	fields := make(map[string]any)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(hostconfig)) {
		value := hostconfig[key]
		if err := checkHostKey(key); err != nil {
			errs = append(errs, err)
			continue
		}
		if value == nil {
			continue
		}
		s := settings[key]
		v, err := s.read(value)
		if err == nil && s.field != "" {
			fields[s.field] = v
			err = checkField(s.field, v)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	return fields, errors.Join(errs...)
}

// as reads a value of one type.
func as[T any](v any) (any, error) { return prop.Convert[T](v) }

func refuse(why string) func(any) (any, error) {
	return func(any) (any, error) { return nil, errors.New(why) }
}

func readAutoRemove(v any) (any, error) {
	if v == false {
		return nil, nil
	}
	return nil, errors.New("the master removes the container, once it has read why it ended; leave it out")
}

// readSize reads a number of bytes, or a text with a unit: 512m, 2g.
func readSize(v any) (any, error) {
	s, ok := v.(string)
	if !ok {
		return as[int64](v)
	}
	digits := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), "b")
	shift := 0
	if n := len(digits); n > 0 {
		if i := strings.IndexByte("kmgt", digits[n-1]); i >= 0 {
			digits, shift = digits[:n-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > 1<<62>>shift {
		return nil, fmt.Errorf(`want bytes, or a size such as "512m" or "2g", got %s`, prop.Describe(v))
	}
	return n << shift, nil
}

// pairs reads a dict, or a list of texts or pairs, as the list of KEY+sep+VALUE.
func pairs(sep string) func(any) (any, error) {
	return func(v any) (any, error) {
		if d, ok := v.(map[string]any); ok {
			m, err := prop.Convert[map[string]string](d)
			if err != nil {
				return nil, err
			}
			var list []string
			for _, k := range slices.Sorted(maps.Keys(m)) {
				list = append(list, k+sep+m[k])
			}
			return list, nil
		}
		items, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf("want a dict or a list, got %s", prop.Describe(v))
		}
		list := make([]string, len(items))
		for i, item := range items {
			if s, ok := item.(string); ok {
				list[i] = s
				continue
			}
			pair, err := prop.Convert[[]string](item)
			if err != nil || len(pair) != 2 {
				return nil, fmt.Errorf("item %d: want a string or a pair of strings", i+1)
			}
			list[i] = pair[0] + sep + pair[1]
		}
		return list, nil
	}
}

// readDevices reads HOST[:CONTAINER[:PERMISSIONS]], or the API's dicts.
func readDevices(v any) (any, error) {
	items, err := prop.Convert[[]any](v)
	if err != nil {
		return nil, err
	}
	list := make([]any, len(items))
	for i, item := range items {
		s, ok := item.(string)
		if !ok {
			if list[i], err = as[map[string]any](item); err != nil {
				return nil, fmt.Errorf("item %d: %w", i+1, err)
			}
			continue
		}
		part := strings.SplitN(s, ":", 3)
		d := map[string]any{"PathOnHost": part[0], "PathInContainer": part[0], "CgroupPermissions": "rwm"}
		if len(part) > 1 {
			d["PathInContainer"] = part[1]
		}
		if len(part) > 2 {
			d["CgroupPermissions"] = part[2]
		}
		list[i] = d
	}
	return list, nil
}

// readGroups reads names and numbers.
func readGroups(v any) (any, error) {
	items, err := prop.Convert[[]any](v)
	if err != nil {
		return nil, err
	}
	list := make([]string, len(items))
	for i, item := range items {
		switch item := item.(type) {
		case string:
			list[i] = item
		case int64:
			list[i] = strconv.FormatInt(item, 10)
		default:
			return nil, fmt.Errorf("item %d: want string or int, got %s", i+1, prop.Describe(item))
		}
	}
	return list, nil
}

// readLogConfig reads {"type": ..., "config": {...}}, which the API writes with capitals.
func readLogConfig(v any) (any, error) {
	return capitals(v, map[string]string{"type": "Type", "config": "Config"})
}

// readUlimits reads [{"name": ..., "soft": ..., "hard": ...}].
func readUlimits(v any) (any, error) {
	items, err := prop.Convert[[]any](v)
	if err != nil {
		return nil, err
	}
	list := make([]any, len(items))
	for i, item := range items {
		if list[i], err = capitals(item, map[string]string{"name": "Name", "soft": "Soft", "hard": "Hard"}); err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
	}
	return list, nil
}

// capitals gives the keys of a dict the names that the API has.
func capitals(v any, names map[string]string) (any, error) {
	d, err := prop.Convert[map[string]any](v)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, len(d))
	for k, e := range d {
		if name, ok := names[k]; ok {
			k = name
		}
		out[k] = e
	}
	return out, nil
}

// readSysctls reads texts and numbers.
func readSysctls(v any) (any, error) {
	d, err := prop.Convert[map[string]any](v)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(d))
	for k, e := range d {
		switch e := e.(type) {
		case string:
			out[k] = e
		case int64:
			out[k] = strconv.FormatInt(e, 10)
		default:
			return nil, fmt.Errorf("%q: want string or int, got %s", k, prop.Describe(e))
		}
	}
	return out, nil
}

// readTmpfs reads a dict of options by path, or a list of PATH[:OPTIONS].
func readTmpfs(v any) (any, error) {
	if _, ok := v.(map[string]any); ok {
		return as[map[string]string](v)
	}
	items, err := prop.Convert[[]string](v)
	if err != nil {
		return nil, fmt.Errorf("want a dict or a list of strings, got %s", prop.Describe(v))
	}
	out := make(map[string]string, len(items))
	for _, item := range items {
		path, options, _ := strings.Cut(item, ":")
		out[path] = options
	}
	return out, nil
}

// readPorts reads {"8080/tcp": PORT}. Instead of a port there may be a pair of an address and
// a port, an address alone, None for any port, or a list of these.
func readPorts(v any) (any, error) {
	d, err := prop.Convert[map[string]any](v)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, len(d))
	for port, to := range d {
		if !strings.Contains(port, "/") {
			port += "/tcp"
		}
		list, ok := to.([]any)
		if !ok || isAddress(list) {
			list = []any{to}
		}
		var bindings []any
		for _, item := range list {
			b, err := binding(item)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", port, err)
			}
			bindings = append(bindings, b)
		}
		out[port] = bindings
	}
	return out, nil
}

// isAddress reports whether a list is (ADDRESS,) or (ADDRESS, PORT) and not one of ports.
func isAddress(list []any) bool {
	if len(list) == 0 || len(list) > 2 {
		return false
	}
	s, ok := list[0].(string)
	return ok && strings.ContainsAny(s, ".:")
}

func binding(v any) (map[string]any, error) {
	switch v := v.(type) {
	case nil:
		return map[string]any{"HostPort": ""}, nil
	case int64:
		return map[string]any{"HostPort": strconv.FormatInt(v, 10)}, nil
	case string:
		if isAddress([]any{v}) {
			return map[string]any{"HostIp": v}, nil
		}
		return map[string]any{"HostPort": v}, nil
	case []any:
		if isAddress(v) {
			b := map[string]any{"HostIp": v[0]}
			if len(v) > 1 {
				to, err := binding(v[1])
				if err != nil {
					return nil, err
				}
				b["HostPort"] = to["HostPort"]
			}
			return b, nil
		}
	}
	return nil, fmt.Errorf("want a port, or a pair of an address and a port, got %s", prop.Describe(v))
}
