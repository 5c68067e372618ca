package docker

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/image"

	"buildstar/internal/dockertest"
	"buildstar/latent"
)

// docs/requirements.md A13.3, B5: an image that is not there is the build's fault.
func TestDockerImage(t *testing.T) {
	r := newRig(t, `image=util.Interpolate("%(prop:image)s")`)
	if _, err := r.tryStart(map[string]any{"image": guestImage(t)}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"none/such:1", "Not A Name"} {
		_, err := r.tryStart(map[string]any{"image": name})
		if !errors.Is(err, latent.ErrCannotSubstantiate) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.launch(map[string]any{"image": ""}); err == nil || !strings.Contains(err.Error(), "neither image nor dockerfile") {
		t.Errorf("render: %v", err)
	}
}

// label returns a label of the image of an instance.
func (r *rig) label(ref latent.Ref, name string) string {
	r.t.Helper()
	i, err := r.api.ImageInspect(r.ctx, r.inspect(ref).Image)
	if err != nil {
		r.t.Fatal(err)
	}
	return i.Config.Labels[name]
}

func TestDockerDockerfile(t *testing.T) {
	r := newRig(t, `dockerfile=util.Interpolate("FROM GUEST\nARG A=none\nLABEL a=%(prop:a)s-$A\nCMD [\"env\"]\n"), buildargs={"A": util.Property("b")}`)
	ref, err := r.tryStart(map[string]any{"a": "1", "b": "2"})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.label(ref, "a"); got != "1-2" {
		t.Errorf("label %q", got)
	}
	if !strings.Contains(r.log.String(), "LABEL a=1-$A") {
		t.Errorf("the log tells nothing of the build: %s", &r.log)
	}
	first := r.inspect(ref).Image
	if ref, err = r.tryStart(map[string]any{"a": "3", "b": "4"}); err != nil {
		t.Fatal(err)
	}
	if got := r.label(ref, "a"); got != "3-4" {
		t.Errorf("label %q", got)
	}
	// A third image takes the place of the second, which a container used until now; the first
	// had no user any more when the second took its place.
	if _, err = r.tryStart(map[string]any{"a": "5", "b": "6"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.api.ImageInspect(r.ctx, first); err == nil {
		t.Error("the first image is still there")
	}
	_, err = r.tryStart(map[string]any{"a": "$(", "b": "\n"})
	if err != nil {
		t.Logf("odd arguments: %v", err)
	}
}

// An image that has a name is built once (B5).
func TestDockerDockerfileWithImage(t *testing.T) {
	r := newRig(t, `image=util.Interpolate("named:%(prop:n)s"), dockerfile="FROM GUEST\nCMD [\"pid\"]\n"`)
	var ref latent.Ref
	for range 2 {
		var err error
		if ref, err = r.tryStart(map[string]any{"n": "1"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(r.log.String(), "build image"); n != 1 {
		t.Errorf("built %d times", n)
	}
	if err := r.b.Stop(r.ctx, ref, true); err != nil { // podman removes no image of a container that is ending
		t.Error(err)
	}
	if _, err := r.api.ImageRemove(r.ctx, "named:1", image.RemoveOptions{Force: true}); err != nil {
		t.Error(err)
	}
}

func TestDockerBadDockerfile(t *testing.T) {
	for dockerfile, want := range map[string]string{`FROM GUEST\nNONSENSE`: "NONSENSE", `FROM GUEST\nRUN [\"/no/such\"]`: "/no/such"} {
		r := newRig(t, `dockerfile="`+dockerfile+`"`)
		_, err := r.tryStart(nil)
		if !errors.Is(err, latent.ErrCannotSubstantiate) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", dockerfile, err)
		}
	}
}

// docs/requirements.md D2.3: target.
func TestDockerTarget(t *testing.T) {
	for target, want := range map[string]string{"": "last", "one": "first"} {
		r := newRig(t, `dockerfile="FROM GUEST as one\nLABEL stage=first\nFROM one\nLABEL stage=last\n", target="`+target+`"`)
		if got := r.label(r.start(), "stage"); got != want {
			t.Errorf("target %q: the image is of the %s stage", target, got)
		}
	}
}

func TestDockerCustomContext(t *testing.T) {
	plain := archive(t, guestDockerfile+"ARG A\nLABEL a=$A\nCMD [\"pid\"]\n")
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"plain.tar": plain, "small.tar.gz": small.Bytes()} {
		for _, encoding := range []string{"gzip", "identity"} {
			r := newRig(t, fmt.Sprintf(`dockerfile=%q, custom_context=True, encoding=%q, buildargs={"A": "b"}`, name, encoding))
			if err := os.WriteFile(filepath.Join(r.env.Basedir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
			ref := r.start()
			if got := r.label(ref, "a"); got != "b" {
				t.Errorf("%s, %s: label %q", name, encoding, got)
			}
		}
	}
}

// encoding is how a plain archive travels.
func TestDockerEncoding(t *testing.T) {
	r := newRig(t, `image="GUEST"`)
	file := filepath.Join(r.env.Basedir, "a.tar")
	if err := os.WriteFile(file, archive(t, guestDockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	for encoding, magic := range map[string]string{"gzip": "\x1f\x8b", "identity": "Dockerfile"} {
		a, err := r.b.(*backend).context(&wanted{customContext: true, dockerfile: file, encoding: encoding})
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 16)
		if _, err := a.Read(head); err != nil || !bytes.HasPrefix(head, []byte(magic)) {
			t.Errorf("%s begins with %q, %v", encoding, head, err)
		}
		if err := a.Close(); err != nil { // before the end
			t.Error(err)
		}
	}
}

func TestDockerNoContext(t *testing.T) {
	r := newRig(t, `dockerfile=util.Property("file"), custom_context=True`)
	for file, want := range map[string]string{"none.tar": "no such file", ".": "is no file"} {
		_, err := r.tryStart(map[string]any{"file": file})
		if !errors.Is(err, latent.ErrCannotSubstantiate) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// docs/requirements.md B5: autopull, alwaysPull.
func TestDockerAutopull(t *testing.T) {
	g := newRegistry(t)
	name := g.host + "/some/image:1"
	g.serve(t, "first")
	r := newRig(t, fmt.Sprintf(`image=%q`, name))
	t.Cleanup(func() { _, _ = r.api.ImageRemove(r.ctx, name, image.RemoveOptions{Force: true}) })
	if _, err := r.tryStart(nil); !errors.Is(err, latent.ErrCannotSubstantiate) {
		t.Errorf("without autopull: %v", err)
	}
	r.declare(fmt.Sprintf(`image=%q, autopull=True`, name))
	if got := r.label(r.start(), "version"); got != "first" {
		t.Errorf("version %q", got)
	}
	g.serve(t, "second")
	if got := r.label(r.start(), "version"); got != "first" {
		t.Errorf("pulled again: version %q", got)
	}
	r.declare(fmt.Sprintf(`image=%q, alwaysPull=True`, name))
	if got := r.label(r.start(), "version"); got != "first" {
		t.Errorf("pulled without autopull: version %q", got)
	}
	r.declare(fmt.Sprintf(`image=%q, autopull=True, alwaysPull=True`, name))
	if got := r.label(r.start(), "version"); got != "second" {
		t.Errorf("not pulled: version %q", got)
	}
	// alwaysPull pulls what a Dockerfile begins with too.
	g.serve(t, "third")
	for always, want := range map[string]string{"False": "second", "True": "third"} {
		r.declare(fmt.Sprintf(`dockerfile="FROM %s\nCMD [\"pid\"]\n", alwaysPull=%s`, name, always))
		if got := r.label(r.start(), "version"); always == "True" && got != want {
			t.Errorf("alwaysPull=%s: based on %q", always, got)
		}
	}
	r.declare(fmt.Sprintf(`image="%s/none:1", autopull=True`, g.host))
	if _, err := r.tryStart(nil); !errors.Is(err, latent.ErrCannotSubstantiate) {
		t.Errorf("an image that the registry lacks: %v", err)
	}
}

// A registry may want a password, which docker login left.
func TestDockerAutopullWithPassword(t *testing.T) {
	g := newRegistry(t)
	g.serve(t, "first")
	g.password.Store(new("hunter2"))
	name := g.host + "/some/image:2"
	home := t.TempDir()
	t.Setenv("DOCKER_CONFIG", home)
	r := newRig(t, fmt.Sprintf(`image=%q, autopull=True`, name))
	t.Cleanup(func() { _, _ = r.api.ImageRemove(r.ctx, name, image.RemoveOptions{Force: true}) })
	if _, err := r.tryStart(nil); err == nil {
		t.Error("pulled without a password")
	}
	config := fmt.Sprintf(`{"auths": {"%s": {"auth": "dTpodW50ZXIy"}, "other": {"auth": "eA=="}}}`, g.host) // u:hunter2
	if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := r.label(r.start(), "version"); got != "first" {
		t.Errorf("version %q", got)
	}
}

func TestRegistryOf(t *testing.T) {
	for image, want := range map[string]string{
		"debian": "index.docker.io", "a/b:1": "index.docker.io", "docker.io/a/b": "index.docker.io", "ghcr.io/a/b": "ghcr.io",
		"localhost/a": "localhost", "h:5000/a/b@sha256:0": "h:5000",
	} {
		if got := registryOf(image); got != want {
			t.Errorf("%s: %s, want %s", image, got, want)
		}
	}
}

// docs/requirements.md B5: version and tls.
func TestDockerVersion(t *testing.T) {
	for version, want := range map[string]string{`"1.35"`: "/v1.35/", `"auto"`: "/v1.", "None": "/v1."} {
		p := newProxy(t, false)
		r := newRig(t, fmt.Sprintf(`docker_host=%q, image="GUEST", version=%s`, p.host, version))
		r.start()
		if got := p.paths(); len(got) == 0 || !strings.HasPrefix(got[len(got)-1], want) {
			t.Errorf("version %s: asked for %q", version, got)
		}
	}
}

func TestDockerTLS(t *testing.T) {
	p := newProxy(t, true)
	args := fmt.Sprintf(`docker_host=%q, image="GUEST"`, p.host)
	for tls, ok := range map[string]bool{
		"":                            false, // not spoken at all
		"tls=True":                    false, // the system does not trust it
		`tls={"verify": False}`:       false, // it wants a certificate
		`tls={"ca_cert": "cert.pem"}`: false,
		`tls={"ca_cert": "cert.pem", "client_cert": ("cert.pem", "key.pem")}`: true,
		`tls={"verify": False, "client_cert": ("cert.pem", "key.pem")}`:       true,
		`tls={"client_cert": ("cert.pem", "key.pem")}`:                        false,
		`tls={"client_cert": ("cert.pem", "none.pem")}`:                       false,
		`tls={"ca_cert": "key.pem"}`:                                          false,
	} {
		r := newRig(t, `image="GUEST"`)
		p.files(t, r.env.Basedir)
		r.declare(args + ", " + tls)
		if _, err := r.tryStart(nil); ok != (err == nil) || errors.Is(err, latent.ErrCannotSubstantiate) {
			t.Errorf("%s: %v", tls, err)
		}
		r.declare(fmt.Sprintf(`docker_host=%q, image="GUEST"`, dockertest.Host()))
	}
}
