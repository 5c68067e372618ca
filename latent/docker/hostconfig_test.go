package docker

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// hostCases has a good value for each key of hostconfig, with what the engine is sent.
var hostCases = map[string]struct {
	value any
	want  string // JSON of the fields
}{
	"auto_remove":         {false, `{}`},
	"blkio_weight":        {int64(500), `{"BlkioWeight": 500}`},
	"blkio_weight_device": {[]any{map[string]any{"Path": "/dev/sda", "Weight": int64(400)}}, `{"BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 400}]}`},
	"cap_add":             {[]any{"SYS_PTRACE"}, `{"CapAdd": ["SYS_PTRACE"]}`},
	"cap_drop":            {[]any{"ALL"}, `{"CapDrop": ["ALL"]}`},
	"cgroup_parent":       {"p", `{"CgroupParent": "p"}`},
	"cgroupns":            {"host", `{"CgroupnsMode": "host"}`},
	"cpu_count":           {int64(2), `{"CpuCount": 2}`},
	"cpu_percent":         {int64(50), `{"CpuPercent": 50}`},
	"cpu_period":          {int64(1000), `{"CpuPeriod": 1000}`},
	"cpu_quota":           {int64(500), `{"CpuQuota": 500}`},
	"cpu_rt_period":       {int64(1), `{"CpuRealtimePeriod": 1}`},
	"cpu_rt_runtime":      {int64(1), `{"CpuRealtimeRuntime": 1}`},
	"cpu_shares":          {int64(3), `{"CpuShares": 3}`},
	"cpuset_cpus":         {"0-1", `{"CpusetCpus": "0-1"}`},
	"cpuset_mems":         {"0", `{"CpusetMems": "0"}`},
	"device_cgroup_rules": {[]any{"c 1:3 mr"}, `{"DeviceCgroupRules": ["c 1:3 mr"]}`},
	"device_read_bps":     {[]any{map[string]any{"Path": "/d", "Rate": int64(1)}}, `{"BlkioDeviceReadBps": [{"Path": "/d", "Rate": 1}]}`},
	"device_read_iops":    {[]any{map[string]any{"Path": "/d", "Rate": int64(1)}}, `{"BlkioDeviceReadIOps": [{"Path": "/d", "Rate": 1}]}`},
	"device_write_bps":    {[]any{map[string]any{"Path": "/d", "Rate": int64(1)}}, `{"BlkioDeviceWriteBps": [{"Path": "/d", "Rate": 1}]}`},
	"device_write_iops":   {[]any{map[string]any{"Path": "/d", "Rate": int64(1)}}, `{"BlkioDeviceWriteIOps": [{"Path": "/d", "Rate": 1}]}`},
	"device_requests":     {[]any{map[string]any{"Driver": "nvidia", "Count": int64(-1)}}, `{"DeviceRequests": [{"Driver": "nvidia", "Count": -1}]}`},
	"devices": {[]any{"/dev/a", "/dev/b:/dev/c", "/dev/d:/dev/e:r", map[string]any{"PathOnHost": "/dev/f"}}, `{"Devices": [
		{"PathOnHost": "/dev/a", "PathInContainer": "/dev/a", "CgroupPermissions": "rwm"},
		{"PathOnHost": "/dev/b", "PathInContainer": "/dev/c", "CgroupPermissions": "rwm"},
		{"PathOnHost": "/dev/d", "PathInContainer": "/dev/e", "CgroupPermissions": "r"}, {"PathOnHost": "/dev/f"}]}`},
	"dns":              {[]any{"10.0.0.1"}, `{"Dns": ["10.0.0.1"]}`},
	"dns_opt":          {[]any{"ndots:1"}, `{"DnsOptions": ["ndots:1"]}`},
	"dns_search":       {[]any{"test"}, `{"DnsSearch": ["test"]}`},
	"extra_hosts":      {map[string]any{"b": "10.0.0.2", "a": "10.0.0.1"}, `{"ExtraHosts": ["a:10.0.0.1", "b:10.0.0.2"]}`},
	"group_add":        {[]any{"audio", int64(7)}, `{"GroupAdd": ["audio", "7"]}`},
	"init":             {true, `{"Init": true}`},
	"ipc_mode":         {"host", `{"IpcMode": "host"}`},
	"isolation":        {"default", `{"Isolation": "default"}`},
	"kernel_memory":    {int64(5), `{"KernelMemory": 5}`},
	"links":            {[]any{[]any{"db", "database"}, "x:y"}, `{"Links": ["db:database", "x:y"]}`},
	"log_config":       {map[string]any{"type": "json-file", "config": map[string]any{"max-size": "1m"}}, `{"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}}`},
	"mem_limit":        {"2g", `{"Memory": 2147483648}`},
	"mem_reservation":  {"512MB", `{"MemoryReservation": 536870912}`},
	"mem_swappiness":   {int64(60), `{"MemorySwappiness": 60}`},
	"memswap_limit":    {int64(-1), `{"MemorySwap": -1}`},
	"mounts":           {[]any{map[string]any{"Type": "tmpfs", "Target": "/t"}}, `{"Mounts": [{"Type": "tmpfs", "Target": "/t"}]}`},
	"nano_cpus":        {int64(1500000000), `{"NanoCpus": 1500000000}`},
	"network_mode":     {"host", `{"NetworkMode": "host"}`},
	"oom_kill_disable": {true, `{"OomKillDisable": true}`},
	"oom_score_adj":    {int64(100), `{"OomScoreAdj": 100}`},
	"pid_mode":         {"host", `{"PidMode": "host"}`},
	"pids_limit":       {int64(99), `{"PidsLimit": 99}`},
	"port_bindings": {map[string]any{"80": int64(8080), "81/udp": []any{"127.0.0.1", int64(81)}, "82": nil, "83": []any{int64(1), "2"}, "84": []any{"::1"},
		"85": []any{[]any{"127.0.0.1", "85"}, int64(86)}, "86": "10.0.0.1"}, `{"PortBindings": {
		"80/tcp": [{"HostPort": "8080"}], "81/udp": [{"HostIp": "127.0.0.1", "HostPort": "81"}], "82/tcp": [{"HostPort": ""}],
		"83/tcp": [{"HostPort": "1"}, {"HostPort": "2"}], "84/tcp": [{"HostIp": "::1"}],
		"85/tcp": [{"HostIp": "127.0.0.1", "HostPort": "85"}, {"HostPort": "86"}], "86/tcp": [{"HostIp": "10.0.0.1"}]}}`},
	"privileged":        {true, `{"Privileged": true}`},
	"publish_all_ports": {true, `{"PublishAllPorts": true}`},
	"read_only":         {true, `{"ReadonlyRootfs": true}`},
	"restart_policy":    {map[string]any{"Name": "on-failure", "MaximumRetryCount": int64(2)}, `{"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}`},
	"runtime":           {"runsc", `{"Runtime": "runsc"}`},
	"security_opt":      {[]any{"seccomp=unconfined"}, `{"SecurityOpt": ["seccomp=unconfined"]}`},
	"shm_size":          {"64m", `{"ShmSize": 67108864}`},
	"storage_opt":       {map[string]any{"size": "1G"}, `{"StorageOpt": {"size": "1G"}}`},
	"sysctls":           {map[string]any{"a": int64(1), "b": "2"}, `{"Sysctls": {"a": "1", "b": "2"}}`},
	"tmpfs":             {[]any{"/tmp:size=1m", "/run"}, `{"Tmpfs": {"/tmp": "size=1m", "/run": ""}}`},
	"ulimits":           {[]any{map[string]any{"name": "nofile", "soft": int64(1), "hard": int64(2)}}, `{"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]}`},
	"userns_mode":       {"host", `{"UsernsMode": "host"}`},
	"uts_mode":          {"host", `{"UTSMode": "host"}`},
	"volume_driver":     {"local", `{"VolumeDriver": "local"}`},
	"volumes_from":      {[]any{"other"}, `{"VolumesFrom": ["other"]}`},
}

// refused are the keys that no value is good for.
var refused = map[string]bool{"binds": true, "init_path": true, "lxc_conf": true}

func TestHostConfigKeys(t *testing.T) {
	for key := range settings {
		c, ok := hostCases[key]
		if !ok {
			if _, err := hostFields(map[string]any{key: "x"}); !refused[key] || err == nil || !strings.HasPrefix(err.Error(), key+": ") {
				t.Errorf("%s: %v", key, err)
			}
			continue
		}
		got, err := hostFields(map[string]any{key: c.value})
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		data, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if !equalJSON(t, string(data), c.want) {
			t.Errorf("%s: sent %s, want %s", key, data, c.want)
		}
		if got, err := hostFields(map[string]any{key: nil}); err != nil || len(got) != 0 {
			t.Errorf("%s=None: %v, %v", key, got, err)
		}
		if _, err := hostFields(map[string]any{key: 1.5}); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s=1.5: %v", key, err)
		}
	}
}

func equalJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)); err != nil {
		t.Fatalf("%s, %s: %v", a, b, err)
	}
	return reflect.DeepEqual(x, y)
}

func TestHostConfigErrors(t *testing.T) {
	for _, c := range []struct {
		key   string
		value any
		want  string
	}{
		{"auto_remove", true, "the master removes the container"},
		{"binds", []any{"a:b"}, "volumes"},
		{"network_mod", "host", `did you mean "network_mode"?`},
		{"nothing_like_it", "host", "create_host_config"},
		{"mem_limit", "2 gallons", `want bytes, or a size`},
		{"mem_limit", "99999999999g", `want bytes, or a size`},
		{"mounts", []any{map[string]any{"Targat": "/x"}}, `unknown field "Targat"`},
		{"pids_limit", "many", "want int"},
		{"links", []any{[]any{"a"}}, "item 1: want a string or a pair"},
		{"group_add", []any{true}, "item 1: want string or int"},
		{"port_bindings", map[string]any{"80": true}, `"80/tcp": want a port`},
		{"tmpfs", "/tmp", "want a dict or a list"},
	} {
		_, err := hostFields(map[string]any{c.key: c.value})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%v: %v, want %q", c.key, c.value, err, c.want)
		}
	}
	if _, err := hostFields(map[string]any{"a": 1, "b": 2}); err == nil || strings.Count(err.Error(), "there is no") != 2 {
		t.Errorf("not all at once: %v", err)
	}
}
