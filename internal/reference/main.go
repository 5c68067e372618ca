// Reference writes docs/reference: a page per module of master.star, made from the
// structs that bind its calls and the comments on them ("declare once",
// docs/architecture.md section 1). Run it in the root of the repository:
//
//	go run ./internal/reference
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"buildstar/builtins/changes"
	"buildstar/builtins/reporters"
	"buildstar/builtins/schedulers"
	"buildstar/builtins/secrets"
	"buildstar/builtins/steps"
	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/latent/docker"
	"buildstar/latent/ec2"
	"buildstar/latent/libvirt"
	"buildstar/latent/openstack"
	"buildstar/latent/script"
	"buildstar/starlark"
	"buildstar/starlark/spec"
)

// modules are the pages, in the order of the index.
var modules = []*spec.Module{worker.Module.With(script.Worker, docker.Worker, ec2.Worker, openstack.Worker, libvirt.Worker), steps.Module, changes.Module, schedulers.Module, util.Module, secrets.Module, reporters.Module}

func main() {
	pages, err := render(".")
	if err == nil {
		err = write(filepath.Join("docs", "reference"), pages)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

// render returns the pages by file name; root is the root of the repository.
func render(root string) (map[string][]byte, error) {
	src := &source{root: root}
	pages := map[string][]byte{}
	p := &page{src: src}
	p.keys(starlark.KeyClasses())
	pages["c.md"] = p.Bytes()
	for _, m := range modules {
		p := &page{src: src}
		p.module(m)
		pages[m.Name+".md"] = p.Bytes()
	}
	p = &page{src: src}
	p.index(modules)
	pages["README.md"] = p.Bytes()
	return pages, src.err
}

// write replaces what is in dir.
func write(dir string, pages map[string][]byte) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
