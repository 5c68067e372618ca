package conn

import (
	"errors"
	"fmt"
	"maps"
	"unique"

	"buildstar/conn/wire"
)

// readInfo sorts what a worker says about itself (docs/protocol.md A.3). Strings that
// many workers share are kept once.
func (srv *Server) readInfo(v any) (WorkerInfo, error) {
	said, ok := v.(map[string]any)
	if !ok {
		return WorkerInfo{}, errors.New("its information is not a map")
	}
	info := WorkerInfo{Facts: make(map[string]any, len(said))}
	for _, key := range []string{"os_id", "os_id_like", "os_version_id", "os_version_codename"} {
		info.Facts[key] = nil // always there, so that a property of it renders
	}
	for key, value := range said {
		switch key {
		case "environ":
			info.Environ = srv.shareMap(homes(value))
		case "worker_commands":
			info.Commands = srv.shareMap(texts(value))
		case wire.InfoOurs:
			_, info.Ours = value.(map[string]any)
		default:
			if text, ok := value.(string); ok {
				value = share(text)
			}
			info.Facts[share(key)] = value
		}
	}
	info.Basedir, _ = info.Facts["basedir"].(string)
	info.System, _ = info.Facts["system"].(string)
	info.Version, _ = info.Facts["version"].(string)
	if info.Basedir == "" {
		return WorkerInfo{}, errors.New("its information has no basedir")
	}
	if info.System == "" {
		info.System = "posix"
	}
	return info, nil
}

func share(s string) string { return unique.Make(s).Value() }

// homes keeps of an environment only what ~ needs: the rest may be secret.
func homes(v any) map[string]string {
	all, _ := v.(map[string]any)
	out := map[string]string{}
	for _, key := range []string{"HOME", "USERPROFILE", "HOMEDRIVE", "HOMEPATH"} {
		if value, ok := all[key].(string); ok {
			out[key] = share(value)
		}
	}
	return out
}

// texts keeps the entries of a map that are text.
func texts(v any) map[string]string {
	all, _ := v.(map[string]any)
	out := make(map[string]string, len(all))
	for key, value := range all {
		if text, ok := value.(string); ok {
			out[key] = text
		}
	}
	return out
}

// Bounds of what is shared: different maps, and bytes in one. A stock worker's commands
// take 400.
const (
	maxShared     = 64
	maxSharedSize = 4 << 10
)

// shareMap returns one map for all workers that say the same.
func (srv *Server) shareMap(m map[string]string) map[string]string {
	key := fmt.Sprint(m) // sorted by fmt
	if len(key) > maxSharedSize {
		return m
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if same, ok := srv.shared[key]; ok && maps.Equal(same, m) {
		return same
	}
	if len(srv.shared) < maxShared {
		srv.shared[key] = m
	}
	return m
}
