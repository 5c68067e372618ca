package engine

import (
	"net"
	"testing"

	"buildstar/config"
)

// Where an instance finds the master: what masterFQDN says, else where the port listens.
func TestInstanceAddress(t *testing.T) {
	m := New(Options{})
	listen := config.Listen{Host: "127.0.0.1", Port: 0}
	s := config.New(config.Snapshot{Master: config.Master{WorkerListen: []config.Listen{listen}}})
	if _, _, _, err := m.instances.address(s, &config.Latent{}); err == nil {
		t.Error("an address without a listener")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	m.doors.open[doorKey(listen)] = &door{listener: &secured{Listener: ln}}
	port := ln.Addr().(*net.TCPAddr).Port
	for fqdn, want := range map[string]struct {
		host string
		port int
	}{"": {"127.0.0.1", port}, "ci": {"ci", port}, "ci:9": {"ci", 9}, "[fd00::1]:9": {"fd00::1", 9}} {
		host, p, tls, err := m.instances.address(s, &config.Latent{MasterFQDN: fqdn})
		if host != want.host || p != want.port || tls || err != nil {
			t.Errorf("%q: %s, %d, %v, %v", fqdn, host, p, tls, err)
		}
	}
	if host, err := ownHost(); err == nil && host == "" {
		t.Error("this host has no name")
	}
}
