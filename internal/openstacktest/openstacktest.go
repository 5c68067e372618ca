// Package openstacktest runs a real OpenStack control plane of its own for tests: Debian's
// keystone, glance, placement, nova, neutron and cinder. Nova's driver is the fake one, so that
// servers cost nothing and never boot. It needs root, 2.5 GB of memory and the packages that
// internal/testall names; it is up after one to three minutes.
package openstacktest

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Variable names the address of Keystone that tests use.
const Variable = "BUILDSTAR_TEST_OPENSTACK"

// Who logs in.
const (
	User     = "admin"
	Password = "secret"
	Project  = "admin"
	Region   = "RegionOne"
)

// AuthURL returns the address of Keystone, and skips the test if there is none.
func AuthURL(t *testing.T) string {
	t.Helper()
	url := os.Getenv(Variable)
	if url == "" {
		t.Skip("make test-openstack runs this")
	}
	return url
}

//go:embed start.sh
var startScript []byte

//go:embed stop.sh
var stopScript []byte

// A Server is a running control plane.
type Server struct {
	AuthURL string // of Keystone

	dir string
}

// ports is how many one after the other a control plane uses.
const ports = 12

// Start starts a control plane.
func Start() (*Server, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("it needs root")
	}
	port, err := freePorts()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "buildstar-openstack-") // short: it holds sockets
	if err != nil {
		return nil, err
	}
	s := &Server{AuthURL: fmt.Sprintf("http://127.0.0.1:%d/v3", port), dir: dir}
	for name, text := range map[string][]byte{"start.sh": startScript, "stop.sh": stopScript} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o755); err != nil {
			return nil, err
		}
	}
	if err := s.script("start.sh", fmt.Sprint(port)); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// freePorts returns the first of so many ports that nobody listens at.
func freePorts() (int, error) {
	for first := 15500; first < 32000; first += 100 {
		free := true
		for port := first; port < first+ports && free; port++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if free = err == nil; free {
				l.Close()
			}
		}
		if free {
			return first, nil
		}
	}
	return 0, errors.New("no free ports")
}

// Stop ends it and removes what it had.
func (s *Server) Stop() error {
	err := s.script("stop.sh")
	return errors.Join(err, os.RemoveAll(s.dir))
}

// script runs a script, whose processes outlive it.
func (s *Server) script(name string, args ...string) error {
	path := filepath.Join(s.dir, name+".log")
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer log.Close()
	c := exec.Command("bash", append([]string{filepath.Join(s.dir, name), s.dir}, args...)...)
	c.Stdout, c.Stderr = log, log
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile(path)
		return fmt.Errorf("%s: %w\n%s", name, err, strings.TrimSpace(string(text[max(0, len(text)-3000):])))
	}
	return nil
}
