package libvirt

import (
	"context"
	"fmt"
	"strings"

	"buildstar/latent"
)

// Examine looks at libvirt, the definition of the domain, its networks, and the images. The
// clock of a host cannot be asked for by virsh.
func (b *backend) Examine(ctx context.Context, report func(latent.Finding)) {
	version, err := b.exec.run(ctx, command{argv: []string{"virsh", "--version"}})
	report(latent.Examined("virsh", strings.TrimSpace(version), err, "install it on the machine of the master"))
	if err != nil {
		return
	}
	uri, err := b.params.URI.resolve()
	if err != nil {
		report(latent.Examined("uri", "", err, ""))
		return
	}
	h := newHost(uri, b.exec)
	about, err := h.virsh(ctx, command{}, "version")
	report(latent.Examined("reach "+uri, strings.TrimPrefix(field(about, "Using library")+", "+field(about, "Running hypervisor"), ", "), err,
		"let libvirtd run there, and the user of the master into its group (libvirt)"))
	if err != nil {
		return
	}
	b.examineDomain(ctx, h, report)
	b.examineImages(ctx, uri, report)
}

// examineDomain looks at the definition of the domain, and what of the host it needs.
func (b *backend) examineDomain(ctx context.Context, h *host, report func(latent.Finding)) {
	const check = "domain"
	text, plain := b.params.XML.Plain()
	if !plain {
		report(unknown(check, "xml"))
		return
	}
	definition, fix := deref(text), "virsh define it, or give xml"
	if definition == "" {
		var err error
		if definition, err = h.defined(ctx, b.params.name); err == nil && definition == "" {
			err = fmt.Errorf("%s defines no %q", h.uri, b.params.name)
		}
		if err != nil {
			report(latent.Examined(check, "", err, fix))
			return
		}
	}
	domain, err := parseDomain(definition)
	if err != nil {
		report(latent.Examined(check, "", err, fix))
		return
	}
	report(latent.Examined(check, fmt.Sprintf("%s, %s", domain.attr("type"), domain.first("os", "type").attr("arch")), nil, ""))
	b.examineRunning(ctx, h, report)
	examineKVM(ctx, h, domain, report)
	seen := map[string]bool{}
	for _, e := range domain.all("devices", "interface", "source") {
		if name := e.attr("network"); name != "" && !seen[name] {
			seen[name] = true
			examineNetwork(ctx, h, name, report)
		}
	}
}

// examineRunning looks whether somebody else has started the domain.
func (b *backend) examineRunning(ctx context.Context, h *host, report func(latent.Finding)) {
	domain, err := h.running(ctx, b.params.name)
	if err == nil && domain != nil {
		if _, ours := instanceOf(domain); !ours {
			err = fmt.Errorf("domain %q runs, and no master started it", b.params.name)
		}
	}
	if err != nil {
		report(latent.Examined("name", "", err, "shut it down: only the master may start it"))
	}
}

// examineKVM looks whether the host has what a domain of type kvm needs.
func examineKVM(ctx context.Context, h *host, domain *element, report func(latent.Finding)) {
	if domain.attr("type") != "kvm" {
		return
	}
	text, err := h.virsh(ctx, command{}, "capabilities")
	var capabilities *element
	if err == nil {
		capabilities, err = parse(text, "capabilities")
	}
	if err == nil {
		for _, e := range capabilities.all("guest", "arch", "domain") {
			if e.attr("type") == "kvm" {
				report(latent.Examined("kvm", "there", nil, ""))
				return
			}
		}
		err = fmt.Errorf("%s has no KVM", h.uri)
	}
	report(latent.Examined("kvm", "", err, `load the module kvm there, or define the domain with type="qemu", which is slow`))
}

func examineNetwork(ctx context.Context, h *host, name string, report func(latent.Finding)) {
	out, err := h.virsh(ctx, command{}, "net-info", "--network", name)
	if err == nil && field(out, "Active") != "yes" {
		err = fmt.Errorf("network %q is not active", name)
	}
	report(latent.Examined("network "+name, "active", err, "virsh net-start "+name+"; virsh net-autostart "+name))
}

// enough is how much room a disk should have, in bytes.
const enough = 1 << 30

// examineImages looks at base_image and where it is copied to.
func (b *backend) examineImages(ctx context.Context, uri string, report func(latent.Finding)) {
	const check = "base_image"
	given, plain := b.params.BaseImage.Plain()
	if !plain {
		report(unknown(check, check))
		return
	}
	if deref(given) == "" {
		return
	}
	s := b.storage(uri)
	base, err := s.inspect(ctx, absolute(b.env.Basedir, *given))
	report(latent.Examined(check, fmt.Sprintf("%s, %s", base.format, gibibytes(base.size)), err, "let the user of the master read it"))
	if err != nil {
		return
	}
	place := base.file
	if hd, plain := b.params.HDImage.Plain(); plain && deref(hd) != "" {
		place = absolute(b.env.Basedir, *hd)
	}
	if remote(uri) {
		place = base.file // hd_image is in the same pool
	}
	free, err := s.free(ctx, place)
	f := latent.Examined("storage", gibibytes(free)+" are free", err, "")
	if err == nil && free < enough {
		f.Health, f.Fix = latent.Doubtful, "make room: a domain that fills the disk stops"
	}
	report(f)
}

func gibibytes(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

func unknown(check, argument string) latent.Finding {
	return latent.Finding{Check: check, Health: latent.Doubtful, Text: argument + " depends on the properties of a build"}
}
