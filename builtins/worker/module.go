// Package worker is the vocabulary of workers: worker.Worker, worker.LocalWorker and
// the machines that they share. A file declares one class, with its behaviour.
package worker

import "buildstar/starlark/spec"

// Module is the namespace worker of master.star.
var Module = &spec.Module{
	Name:    "worker",
	Classes: []*spec.Class{Worker, LocalWorker, Machine},
	Unsupported: map[string]string{
		"AbstractWorker":         "",
		"AbstractLatentWorker":   "",
		"DockerLatentWorker":     "it runs workers in Docker containers. " + byHand,
		"EC2LatentWorker":        "it runs workers on Amazon EC2. " + byHand,
		"KubeLatentWorker":       "it runs workers in Kubernetes pods. " + byHand,
		"LibVirtWorker":          "it runs workers in virtual machines of libvirt. " + byHand,
		"LocalLatentWorker":      "it runs workers inside the master; use worker.LocalWorker",
		"AbstractLatentMachine":  "",
		"GenericLatentMachine":   "it wakes machines and puts them to sleep. " + byHand,
		"LocalWOLAction":         "it wakes a machine. " + byHand,
		"LocalWakeAction":        "it wakes a machine. " + byHand,
		"RemoteSshSuspendAction": "it puts a machine to sleep. " + byHand,
		"RemoteSshWOLAction":     "it wakes a machine. " + byHand,
		"RemoteSshWakeAction":    "it wakes a machine. " + byHand,
		"MarathonLatentWorker":   "it runs workers in Marathon. " + byHand,
		"UpcloudLatentWorker":    "it runs workers at UpCloud. " + byHand,
	},
	Old: map[string]string{
		"BuildSlave":                "worker.Worker(name, password)",
		"OpenStackLatentBuildSlave": "worker.OpenStackLatentWorker(name, password, flavor, ...)",
		"LibVirtSlave":              "worker.LibVirtWorker(name, password, util.Connection(uri), hd_image, base_image)",
		"EC2LatentBuildSlave":       `worker.EC2LatentWorker(name, password, "m5.large", ami="ami-...")`,
	},
}

const byHand = "Until then start the worker yourself and use worker.Worker"
