package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"buildstar/internal/debiantest"
	"buildstar/internal/dockertest"
	"buildstar/internal/openstacktest"
)

// A slow is a suite against a server that takes minutes to install or to start. make test
// runs it if what it tests is not what it last passed with; make test-NAME always runs it.
type slow struct {
	name string // of the part and of the make target
	// pkgs are the folders that it tests; the first has testdata/passed.
	pkgs []string
	// with are further folders that decide whether it must run again.
	with []string
	// needs are installed first.
	needs []need
	// tests are the arguments of go test; nil: the packages of pkgs.
	tests []string
	// start starts the server and returns the environment of the tests.
	start func() (env []string, stop func() error, err error)
}

// slows are those that there are.
var slows = []slow{
	libvirt,
	{
		name: "openstack", pkgs: []string{"latent/openstack"}, with: []string{"internal/openstacktest", "latent/latenttest"},
		needs: []need{{[]string{
			"keystone", "glance-api", "placement-api", "nova-api", "nova-conductor", "nova-scheduler", "nova-compute", "nova-compute-kvm",
			"neutron-server", "neutron-linuxbridge-agent", "cinder-api", "cinder-scheduler", "cinder-volume", "rabbitmq-server", "mariadb-server",
			"uwsgi-plugin-python3", "bridge-utils", "iproute2", "curl",
		}, []string{"sh", "-c", "command -v keystone-manage && command -v nova-compute && command -v cinder-volume && command -v mariadbd && command -v neutron-server"}}},
		start: func() (env []string, stop func() error, err error) {
			if os.Getenv(openstacktest.Variable) != "" { // somebody has one
				return nil, func() error { return nil }, nil
			}
			s, err := openstacktest.Start()
			if err != nil {
				return nil, nil, err
			}
			return []string{openstacktest.Variable + "=" + s.AuthURL}, s.Stop, nil
		},
	},
	{
		name: "debian", pkgs: []string{"internal/debiantest"}, with: []string{"latent/docker", "internal/dockertest", "internal/e2e/debian_test.go"},
		needs: []need{{[]string{"debootstrap", "docker.io"}, []string{"sh", "-c", "debootstrap --version && dockerd --version"}}},
		tests: []string{"-run", "^TestDebianImage$", "./internal/e2e"},
		start: func() (env []string, stop func() error, err error) {
			s, err := debiantest.Start(".cache")
			if err != nil {
				return nil, nil, err
			}
			return []string{dockertest.Variable + "=" + s.String(), debiantest.Variable + "=" + debiantest.Image}, s.Stop, nil
		},
	},
}

// passed is the file that says with what content the suite passed.
func (s slow) passed() string { return filepath.Join(s.pkgs[0], "testdata", "passed") }

// hash is that of what decides the result.
func (s slow) hash() (string, error) {
	sum := sha256.New()
	for _, dir := range slices.Concat(s.pkgs, s.with) {
		if err := addTree(sum, dir, s.passed()); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%x\n", sum.Sum(nil)), nil
}

// addTree writes the names and contents below dir, apart from one file and the prose.
func addTree(w io.Writer, dir, except string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == except || strings.HasSuffix(path, ".md") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s %d\n", filepath.ToSlash(path), len(text))
		_, err = w.Write(text)
		return err
	})
}

// unlessPassed runs the suite unless it passed with this content.
func (s slow) unlessPassed(ctx context.Context) error {
	want, err := s.hash()
	if err != nil {
		return err
	}
	have, err := os.ReadFile(s.passed())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if bytes.Equal(have, []byte(want)) {
		fmt.Printf("it is what passed before; make test-%s runs it nevertheless\n", s.name)
		return nil
	}
	return s.run(ctx)
}

// always runs the suite, and writes that it passed.
func (s slow) always(ctx context.Context) error {
	before, err := s.hash()
	if err != nil {
		return err
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	if after, err := s.hash(); err != nil || after != before {
		return errors.Join(err, errors.New("the files changed while the tests ran: run them again"))
	}
	if err := os.MkdirAll(filepath.Dir(s.passed()), 0o755); err != nil {
		return err
	}
	return os.WriteFile(s.passed(), []byte(before), 0o644)
}

func (s slow) run(ctx context.Context) (err error) {
	if err := install(ctx, s.needs); err != nil {
		return err
	}
	env, stop, err := s.start()
	if err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	defer func() { err = errors.Join(err, stop()) }()
	args := append([]string{"test", "-race", "-count=1", "-timeout", "20m"}, s.tests...)
	if s.tests == nil {
		for _, dir := range s.pkgs {
			args = append(args, "./"+dir+"/...")
		}
	}
	return run(ctx, append(env, "CGO_ENABLED=1"), "go", args...)
}
