package conn

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"unique"

	"buildstar/config/prop"
	"buildstar/conn/wire"
)

// readInfo sorts what a worker says about itself (docs/protocol.md A.3). Strings that
// many workers share are kept once.
func (srv *Server) readInfo(v any) (info WorkerInfo, held []Held, err error) {
	said, ok := v.(map[string]any)
	if !ok {
		return info, nil, errors.New("its information is not a map")
	}
	facts := make(map[string]any, len(said))
	for _, key := range []string{"os_id", "os_id_like", "os_version_id", "os_version_codename"} {
		facts[key] = nil // always there, so that a property of it renders
	}
	for key, value := range said {
		switch key {
		case "environ":
			info.Environ = srv.shareMap(homes(value))
		case "worker_commands":
			info.Commands = srv.shareMap(texts(value))
		case wire.InfoOurs:
			ours, ok := value.(map[string]any)
			if info.Ours = ok; !ok {
				continue
			}
			if info.Life, held, err = readHeld(ours); err != nil {
				return info, nil, err
			}
		default:
			if text, ok := value.(string); ok {
				value = strings.TrimRight(text, "\r\n") // files in info/ end with a newline
			}
			facts[key] = value
		}
	}
	info.Facts = prop.FactsOf(facts)
	info.learn(facts)
	if info.Basedir == "" {
		return info, nil, errors.New("its information has no basedir")
	}
	return info, held, nil
}

// InfoOf is what Facts alone say of a worker, of which they may have been kept.
func InfoOf(facts prop.Facts) WorkerInfo {
	info := WorkerInfo{Facts: facts}
	info.learn(facts.Map())
	return info
}

// learn sets what the facts say.
func (info *WorkerInfo) learn(facts map[string]any) {
	basedir, _ := facts["basedir"].(string)
	system, _ := facts["system"].(string)
	version, _ := facts["version"].(string)
	if system == "" {
		system = "posix"
	}
	info.Basedir, info.System, info.Version = basedir, share(system), share(version)
}

// readHeld reads what a worker of ours says about commands that outlive a connection
// (docs/protocol.md F).
func readHeld(ours map[string]any) (life string, held []Held, err error) {
	if ours[wire.OursResume] != int64(1) {
		return "", nil, nil // another way to do that, or none
	}
	life, _ = ours[wire.OursLife].(string)
	list, ok := ours[wire.OursRunning].([]any)
	if life == "" || !ok {
		return "", nil, errors.New("its list of running commands is not one")
	}
	for _, v := range list {
		e, ok := v.([]any)
		if !ok || len(e) != 4 {
			return "", nil, errors.New("its list of running commands is not one")
		}
		var h Held
		var ok1, ok2, ok3, ok4 bool
		h.ID, ok1 = e[0].(string)
		h.Next, ok2 = e[1].(int64)
		h.First, ok3 = e[2].(int64)
		h.Token, ok4 = e[3].([]byte)
		if !(ok1 && ok2 && ok3 && ok4) || h.ID == "" {
			return "", nil, errors.New("its list of running commands is not one")
		}
		held = append(held, h)
	}
	return life, held, nil
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
