package libvirttest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A Guest is what a domain boots directly: Debian's kernel, and an initial file system that
// has nothing but buildstar, whose worker runs with what the firmware says.
type Guest struct{ Kernel, Initrd string }

// modules are what the kernel needs for the network, the disk and the power button, in the order of
// their dependencies. Some may be part of it.
var modules = []string{
	"drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci",
	"net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net", "drivers/block/virtio_blk", "drivers/acpi/button", "drivers/input/evdev",
}

// MakeGuest makes one in a directory, of a static buildstar.
func MakeGuest(dir, buildstar string) (Guest, error) {
	kernels, err := filepath.Glob("/boot/vmlinuz-*-cloud-amd64")
	if err != nil || len(kernels) == 0 {
		return Guest{}, errors.New("there is no /boot/vmlinuz-*-cloud-amd64: is Debian's linux-image-cloud-amd64 installed?")
	}
	slices.Sort(kernels)
	g := Guest{kernels[len(kernels)-1], filepath.Join(dir, "initrd")}
	init := filepath.Join(dir, "init")
	build := exec.Command("go", "build", "-o", init, "buildstar/internal/libvirttest/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return Guest{}, fmt.Errorf("build the guest: %w\n%s", err, out)
	}
	var a cpio
	a.dir("dev") // the kernel says there what init prints
	a.dir("modules")
	a.copy("init", init)
	a.copy("buildstar", buildstar)
	tree := filepath.Join("/lib/modules", strings.TrimPrefix(filepath.Base(g.Kernel), "vmlinuz-"), "kernel")
	list := ""
	for _, m := range modules {
		name := filepath.Base(m) + ".ko"
		if _, err := os.Stat(filepath.Join(tree, m+".ko")); err == nil {
			a.copy("modules/"+name, filepath.Join(tree, m+".ko"))
			list += name + "\n"
		}
	}
	a.add("modules/list", 0o100644, []byte(list))
	return g, a.write(g.Initrd)
}

// cpio is an archive in the form that kernels unpack ("newc").
type cpio struct {
	buf   bytes.Buffer
	files int
	err   error
}

func (c *cpio) dir(name string) { c.add(name, 0o040755, nil) }

func (c *cpio) copy(name, path string) {
	data, err := os.ReadFile(path)
	c.err = errors.Join(c.err, err)
	c.add(name, 0o100755, data)
}

func (c *cpio) add(name string, mode uint32, data []byte) {
	c.files++
	c.buf.WriteString("070701")
	for _, v := range []uint32{uint32(c.files), mode, 0, 0, 1, 0, uint32(len(data)), 0, 0, 0, 0, uint32(len(name) + 1), 0} {
		fmt.Fprintf(&c.buf, "%08X", v)
	}
	c.buf.WriteString(name + "\x00")
	c.pad()
	c.buf.Write(data)
	c.pad()
}

func (c *cpio) pad() {
	for c.buf.Len()%4 != 0 {
		c.buf.WriteByte(0)
	}
}

func (c *cpio) write(path string) error {
	c.add("TRAILER!!!", 0, nil)
	return errors.Join(c.err, os.WriteFile(path, c.buf.Bytes(), 0o644))
}
