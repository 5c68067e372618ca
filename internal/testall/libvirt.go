package main

import "buildstar/internal/libvirttest"

// libvirt is the suite of workers in real virtual machines.
var libvirt = slow{
	name: "libvirt", pkgs: []string{"latent/libvirt"}, with: []string{"internal/libvirttest", "latent/latenttest"},
	needs: []need{
		{[]string{"libvirt-daemon-system", "libvirt-clients"}, []string{"sh", "-c", "libvirtd --version && virtlogd --version && virsh --version"}},
		{[]string{"qemu-system-x86", "qemu-utils"}, []string{"sh", "-c", "qemu-system-x86_64 --version && qemu-img --version"}},
		{[]string{"tini"}, []string{"tini", "--version"}},
		{[]string{"linux-image-cloud-amd64"}, []string{"sh", "-c", "ls /boot/vmlinuz-*-cloud-amd64"}},
	},
	start: func() ([]string, func() error, error) {
		s, err := libvirttest.Start()
		if err != nil {
			return nil, nil, err
		}
		return []string{libvirttest.Variable + "=" + s.Dir()}, s.Stop, nil
	},
}
