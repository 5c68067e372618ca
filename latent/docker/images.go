package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/image"

	"buildstar/latent"
)

// image returns the id of an image, "" if there is none.
func (e *engine) image(ctx context.Context, name string) (id string, err error) {
	found, err := e.api.ImageInspect(ctx, name)
	switch {
	case errdefs.IsNotFound(err):
		return "", nil
	case err != nil && isBadName(err):
		return "", latent.Cannotf("look for image %q: %w", name, err)
	case err != nil:
		return "", fmt.Errorf("look for image %q: %w", name, err)
	}
	return found.ID, nil
}

// isBadName reports whether an engine says that no image can have such a name; podman calls
// that its own failure.
func isBadName(err error) bool {
	return errdefs.IsInvalidArgument(err) || strings.Contains(err.Error(), "invalid reference format")
}

// recipe is how to build an image.
type recipe struct {
	tag, target string
	args        map[string]string
	pull        bool
}

// build builds an image from an archive, and tells of it.
func (e *engine) build(ctx context.Context, archive io.Reader, r recipe, log func(string)) error {
	args := make(map[string]*string, len(r.args))
	for k, v := range r.args {
		args[k] = &v
	}
	answer, err := e.api.ImageBuild(ctx, archive, build.ImageBuildOptions{
		Tags: []string{r.tag}, Target: r.target, BuildArgs: args, PullParent: r.pull, Dockerfile: "Dockerfile", Remove: true, ForceRemove: true,
		Version: build.BuilderV1,
	})
	if err != nil {
		return blame(fmt.Errorf("build image %q: %w", r.tag, err))
	}
	defer answer.Body.Close()
	failed, err := tell(answer.Body, log)
	if err != nil {
		return fmt.Errorf("build image %q: %w", r.tag, err)
	}
	if failed != "" {
		return latent.Cannotf("build image %q: %s", r.tag, failed)
	}
	return nil
}

// pull pulls an image. That the registry does not have it is told, and no error: whether the
// engine does is what counts.
func (e *engine) pull(ctx context.Context, name string, log func(string)) error {
	auth, err := registryAuth(name)
	if err != nil {
		return fmt.Errorf("pull image %q: %w", name, err)
	}
	err = e.pullAs(ctx, name, auth, log)
	if isNowhere(err) {
		log(fmt.Sprintf("pull image %q: %v\n", name, err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("pull image %q: %w", name, err)
	}
	return nil
}

func (e *engine) pullAs(ctx context.Context, name, auth string, log func(string)) error {
	answer, err := e.api.ImagePull(ctx, name, image.PullOptions{RegistryAuth: auth})
	if err != nil {
		return err
	}
	defer answer.Close()
	failed, err := tell(answer, log)
	if err == nil && failed != "" {
		err = errors.New(failed)
	}
	return err
}

// isNowhere reports whether a pull failed because no registry has the image; engines do not
// make a 404 of each such answer of a registry.
func isNowhere(err error) bool {
	return errdefs.IsNotFound(err) || errdefs.IsInvalidArgument(err) || err != nil && strings.Contains(err.Error(), "manifest unknown")
}

// forget removes an image that nothing uses any more; one that something uses stays.
func (e *engine) forget(ctx context.Context, id string) {
	_, _ = e.api.ImageRemove(ctx, id, image.RemoveOptions{})
}

// tell logs what an engine says while it works on an image, and returns what failed.
func tell(r io.Reader, log func(string)) (failed string, err error) {
	var last string
	for d := json.NewDecoder(r); ; {
		var m struct{ ID, Status, Stream, Error string }
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return failed, nil
		}
		if err != nil {
			return failed, err
		}
		switch line := strings.TrimSpace(m.ID + " " + m.Status); {
		case m.Error != "":
			failed = m.Error
		case m.Stream != "":
			log(m.Stream)
		case m.Status != "" && line != last: // progress repeats it
			last = line
			log(line + "\n")
		}
	}
}
