package docker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"buildstar/internal/dockertest"
	"buildstar/internal/tlstest"
)

// proxy stands before the engine: at a tcp port, with TLS that asks for certificates or
// without.
type proxy struct {
	host, dir string
	mu        sync.Mutex
	seen      []string
}

func newProxy(t *testing.T, secure bool) *proxy {
	t.Helper()
	p := &proxy{dir: t.TempDir()}
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(dockertest.Host(), "unix://"))
	}}
	to.Transport, to.FlushInterval = transport, -1
	t.Cleanup(transport.CloseIdleConnections)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen = append(p.seen, r.URL.Path)
		p.mu.Unlock()
		to.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of failed handshakes
	if secure {
		tlstest.Write(t, p.dir)
		pair, err := tls.LoadX509KeyPair(filepath.Join(p.dir, "cert.pem"), filepath.Join(p.dir, "key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		trusted := x509.NewCertPool()
		trusted.AddCert(pair.Leaf)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted}
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	p.host = "tcp://" + server.Listener.Addr().String()
	return p
}

// files copies the certificate and its key to a directory.
func (p *proxy) files(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(p.dir)); err != nil {
		t.Fatal(err)
	}
}

func (p *proxy) paths() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.seen...)
}

// registry is a Docker registry with one image, which has any name.
type registry struct {
	host     string
	password atomic.Pointer[string] // of the user u; nil: anybody
	mu       sync.Mutex
	blobs    map[string][]byte // by digest
	manifest []byte
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	g := &registry{blobs: make(map[string][]byte)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(g.answer))
	server.Listener.Close()
	var err error
	if server.Listener, err = net.Listen("tcp", dockertest.Registry()); err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(server.Close)
	g.host = server.Listener.Addr().String()
	return g
}

const manifestType = "application/vnd.docker.distribution.manifest.v2+json"

func (g *registry) answer(w http.ResponseWriter, r *http.Request) {
	if want := g.password.Load(); want != nil {
		if _, password, _ := r.BasicAuth(); password != *want {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors": [{"code": "UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch part := strings.Split(r.URL.Path, "/"); {
	case r.URL.Path == "/v2/":
	case strings.Contains(r.URL.Path, "/some/image/manifests/"):
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Docker-Content-Digest", digest(g.manifest))
		w.Header().Set("Content-Length", fmt.Sprint(len(g.manifest)))
		_, _ = w.Write(g.manifest)
	case strings.Contains(r.URL.Path, "/some/image/blobs/") && g.blobs[part[len(part)-1]] != nil:
		_, _ = io.Copy(w, bytes.NewReader(g.blobs[part[len(part)-1]]))
	default:
		http.Error(w, `{"errors": [{"code": "MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
	}
}

// serve gives the image a version: the guest, with a label.
func (g *registry) serve(t *testing.T, version string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	layer := archive(t, "")
	config := marshal(t, map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Entrypoint": []string{"/guest"}, "Labels": map[string]string{"version": version}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	g.blobs[digest(layer)], g.blobs[digest(config)] = layer, config
	blob := func(kind string, data []byte) map[string]any {
		return map[string]any{"mediaType": kind, "size": len(data), "digest": digest(data)}
	}
	g.manifest = marshal(t, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": blob("application/vnd.docker.container.image.v1+json", config),
		"layers": []any{blob("application/vnd.docker.image.rootfs.diff.tar", layer)},
	})
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
