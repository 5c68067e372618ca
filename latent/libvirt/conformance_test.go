package libvirt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildstar/latent"
	"buildstar/latent/latenttest"
)

// TestConformanceFake is without libvirt: TestConformance is with it.
func TestConformanceFake(t *testing.T) {
	latenttest.Exercise(t, func(t *testing.T) latenttest.Subject {
		r := newRig(t, `base_image="BASE", XML`)
		return latenttest.Subject{
			Params: r.b.(*backend).params, Env: r.env,
			Alive: func(t *testing.T) int {
				r.fake.mu.Lock()
				defer r.fake.mu.Unlock()
				n := len(r.fake.domains)
				if files := left(t, filepath.Dir(r.base), r.env.Basedir); n == 0 && len(files) > 0 {
					t.Errorf("left: %v", files)
				}
				return n
			},
			Kill: func(t *testing.T, ref latent.Ref) {
				r.fake.mu.Lock()
				defer r.fake.mu.Unlock()
				delete(r.fake.domains, ref.Worker)
			},
		}
	})
}

// left returns the files of instances: overlays, notes and consoles.
func left(t *testing.T, dirs ...string) (files []string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".lock") && !strings.HasSuffix(path, "base.qcow2") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}
