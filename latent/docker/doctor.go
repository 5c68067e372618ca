package docker

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"buildstar/latent"
)

var _ latent.Doctor = (*backend)(nil)

// Examine looks at the engine, its disk and the image.
func (b *backend) Examine(ctx context.Context, report func(latent.Finding)) {
	hosts, err := b.hosts(ctx)
	if err != nil || len(hosts) == 0 {
		report(latent.Examined("docker_host", "it depends on the build", err, ""))
	}
	for _, host := range hosts {
		e, err := b.engine(host)
		var a about
		if err == nil {
			a, err = e.about(ctx)
		}
		report(latent.Examined("reach "+host, a.name, err, "see that the engine runs there, and that this user may use it"))
		if err != nil {
			continue
		}
		if strings.HasPrefix(host, "unix://") {
			reportDisk(a.root, report)
		}
		b.examineImage(ctx, e, report)
	}
}

// little is how much of its disk an engine should have free.
const little = 2 << 30

func reportDisk(root string, report func(latent.Finding)) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(root, &s); err != nil {
		report(latent.Finding{Check: "disk", Health: latent.Doubtful, Text: fmt.Sprintf("look at %s: %v", root, err)})
		return
	}
	free := s.Bavail * uint64(s.Bsize)
	f := latent.Finding{Check: "disk", Text: fmt.Sprintf("%.1f GiB are free at %s", float64(free)/(1<<30), root)}
	if free < little {
		f.Health, f.Fix = latent.Doubtful, "remove what is not needed: docker system prune"
	}
	report(f)
}

// examineImage says where the image comes from.
func (b *backend) examineImage(ctx context.Context, e *engine, report func(latent.Finding)) {
	p := b.params
	image, plain := p.Image.Plain()
	dockerfile, plainFile := p.Dockerfile.Plain()
	if !plain || !plainFile {
		report(latent.Finding{Check: "image", Text: "it depends on the build"})
		return
	}
	name := orZero(image)
	have := ""
	if name != "" {
		id, err := e.image(ctx, name)
		if err != nil {
			report(latent.Examined("image", "", err, ""))
			return
		}
		have = id
	}
	switch {
	case have != "":
		report(latent.Finding{Check: "image", Text: fmt.Sprintf("%q is there: %s", name, short(strings.TrimPrefix(have, "sha256:")))})
	case !isEmpty(dockerfile):
		report(b.examineDockerfile(*dockerfile))
	case p.Autopull:
		report(latent.Finding{Check: "image", Text: fmt.Sprintf("%q is not there; the first build pulls it", name)})
	default:
		report(latent.Finding{Check: "image", Health: latent.Ill, Text: fmt.Sprintf("the engine has no image %q", name), Fix: "pull it, or say autopull=True"})
	}
}

func (b *backend) examineDockerfile(dockerfile string) latent.Finding {
	const check = "image"
	custom, plain := b.params.CustomContext.Plain()
	if !plain {
		return latent.Finding{Check: check, Text: "it depends on the build"}
	}
	archive, err := b.context(&wanted{dockerfile: dockerfile, customContext: custom})
	if err == nil {
		archive.Close()
	}
	return latent.Examined(check, "the first build makes it", err, "make dockerfile the path of a tar archive, below the master's basedir")
}
