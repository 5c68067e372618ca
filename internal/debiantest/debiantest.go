// Package debiantest makes a Docker engine with an image of Debian and its buildbot-worker,
// for tests of stock workers in containers. It needs root, and Debian's debootstrap and
// docker.io.
package debiantest

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"buildstar/internal/dockertest"
)

// Variable names the image; the tests that need it skip without.
const Variable = "BUILDSTAR_TEST_DEBIAN"

// Image is the image of a [Server].
const Image = "debian-worker:test"

// A Server is a Docker engine that has the image.
type Server struct{ *dockertest.Engine }

// packages are what the tree has besides the essential ones.
const packages = "buildbot-worker,python3-autobahn,python3-msgpack,python3-ply"

// Start starts an engine and imports the image. The tree takes minutes to make; it is kept
// in a folder. Call it from the main goroutine, as dockertest.Start.
func Start(cache string) (*Server, error) {
	tree, err := archive(cache)
	if err != nil {
		return nil, err
	}
	e, err := dockertest.Start()
	if err != nil {
		return nil, err
	}
	if err := command("docker", "--host", e.Host, "import", tree, Image); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return &Server{e}, nil
}

// archive returns the path of a tar archive of the tree.
func archive(cache string) (path string, err error) {
	suite, err := codename()
	if err != nil {
		return "", err
	}
	args := []string{"--variant=minbase", "--include=" + packages, suite}
	path = filepath.Join(cache, fmt.Sprintf("debian-%.12x.tar", sha256.Sum256([]byte(strings.Join(args, " ")))))
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), "debian-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, dockertest.RemoveAll(dir)) }()
	root, whole := filepath.Join(dir, "root"), filepath.Join(dir, "tar")
	if err := command("debootstrap", append(args, root)...); err != nil {
		return "", err
	}
	if err := command("tar", "-C", root, "--one-file-system", "--exclude=./var/cache/apt", "--exclude=./var/lib/apt/lists", "--exclude=./dev/*", "-cf", whole, "."); err != nil {
		return "", err
	}
	return path, os.Rename(whole, path)
}

// codename is the Debian of this machine.
func codename() (string, error) {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "VERSION_CODENAME="); ok {
			return name, nil
		}
	}
	return "", errors.New("/etc/os-release has no VERSION_CODENAME: this is no Debian machine")
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out[max(0, len(out)-2000):])
	}
	return nil
}
