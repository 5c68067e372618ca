package util

import "buildstar/starlark/spec"

// Connection is util.Connection (docs/requirements.md A11.7, B8).
var Connection = &spec.Class{
	Module: "util", Name: "Connection",
	New: func() any { return &LibvirtConnection{} },
}

// LibvirtConnection says where libvirt is. Old configurations give one to worker.LibVirtWorker as
// the third argument, before hd_image and base_image; new ones write uri="qemu:///system" instead.
type LibvirtConnection struct {
	// URI is that of libvirt: qemu:///system, qemu:///session, qemu+ssh://USER@HOST/system.
	URI string `star:"uri"`
}

// Make makes the connection.
func (l *LibvirtConnection) Make(c *spec.Call) any {
	if l.URI == "" {
		c.Problem("bad-value", "uri", "the URI is empty", `write one such as "qemu:///system"`)
	}
	return l
}
