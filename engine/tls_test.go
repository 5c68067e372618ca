package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/internal/tlstest"
	"buildstar/worker"
)

// secureAt is a configuration with a port for workers.
func secureAt(t *config.TLS) *config.Snapshot {
	s := oneBuilder(ends("a", config.Success))
	s.Workers = append(s.Workers, &config.Worker{Name: "far", Class: "Worker", Password: "pw"})
	s.Master.WorkerListen = []config.Listen{{Host: "127.0.0.1", TLS: t}}
	return config.New(*s)
}

// shown returns the serial number of the certificate that a new connection gets, nil
// for a port without TLS.
func (r *running) shown() *big.Int {
	r.t.Helper()
	c, err := net.Dial("tcp", r.WorkerAddrs()[0].String())
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	s := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	var plain tls.RecordHeaderError
	switch err := s.Handshake(); {
	case errors.As(err, &plain):
		return nil
	case err != nil:
		r.t.Fatal(err)
	}
	return s.ConnectionState().PeerCertificates[0].SerialNumber
}

// A reload shows new workers another certificate, or none, at the same port; who is
// connected stays. A certificate that cannot be used leaves everything as it was.
func TestTLSReload(t *testing.T) {
	s := newSite(t)
	first := tlstest.Write(t, s.dir)
	pair := &config.TLS{Cert: "cert.pem", Key: filepath.Join(s.dir, "key.pem")}
	r := s.start(secureAt(pair))
	address := r.WorkerAddrs()[0].String()
	if got := r.shown(); got == nil || got.Cmp(first) != 0 {
		t.Errorf("certificate %v, want %v", got, first)
	}
	ca := filepath.Join(s.dir, "ca.pem")
	if data, err := os.ReadFile(filepath.Join(s.dir, "cert.pem")); err != nil || os.WriteFile(ca, data, 0o600) != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- worker.Run(ctx, worker.Config{MasterURL: "wss://" + address, Name: "far", Password: "pw", CAFile: ca,
			Basedir: t.TempDir(), Logger: quietLog()})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	r.connected("far")
	session := r.fleet.session("far")

	second := tlstest.Write(t, s.dir)
	if err := r.Apply(context.Background(), secureAt(pair)); err != nil {
		t.Fatal(err)
	}
	if got := r.shown(); got == nil || got.Cmp(second) != 0 {
		t.Errorf("renewed: certificate %v, want %v", got, second)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "cert.pem"), []byte("-----BEGIN CERTIFICATE-----\nrubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := r.Apply(context.Background(), secureAt(pair))
	var problems prop.Problems
	if !errors.As(err, &problems) || problems[0].Code != "certificate" || !strings.Contains(problems[0].Text, "read the certificate for workers") {
		t.Errorf("with a broken certificate: %v", err)
	}
	if got := r.shown(); got == nil || got.Cmp(second) != 0 {
		t.Errorf("after a broken one: certificate %v, want %v", got, second)
	}
	if err := r.Apply(context.Background(), secureAt(nil)); err != nil {
		t.Fatal(err)
	}
	if got := r.shown(); got != nil {
		t.Errorf("without TLS: certificate %v", got)
	}
	if res, err := http.Get("http://" + address); err != nil || res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("without TLS: %v, %v", res, err)
	} else {
		res.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	if r.WorkerAddrs()[0].String() != address || r.fleet.session("far") != session {
		t.Error("the port or the worker did not stay")
	}
}
