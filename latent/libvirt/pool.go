package libvirt

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// pools are disks of another machine, in the storage pools of its libvirt.
type pools struct{ *host }

// inspect asks for the volume.
func (s pools) inspect(ctx context.Context, file string) (image, error) {
	out, err := s.virsh(ctx, command{}, "vol-dumpxml", "--vol", file)
	if err != nil {
		return image{}, fmt.Errorf("%w; %s must be in an active storage pool there: virsh pool-create-as NAME dir --target %s", err, file, path.Dir(file))
	}
	return parseVolume(file, out)
}

// parseVolume reads what vol-dumpxml prints.
func parseVolume(file, out string) (image, error) {
	e, err := parse(out, "volume")
	if err != nil {
		return image{}, fmt.Errorf("read the volume %s: %w", file, err)
	}
	size, err := strconv.ParseInt(e.first("capacity").text, 10, 64) // bytes
	format := e.first("target").first("format").attr("type")
	if err != nil || size < 0 || format == "" {
		return image{}, fmt.Errorf("libvirt does not say what the volume %s is", file)
	}
	return image{file, format, size}, nil
}

// makeRoom leaves alone what is there: nobody knows whether a domain uses it.
func (s pools) makeRoom(ctx context.Context, file string) error {
	if _, err := s.virsh(ctx, command{}, "vol-info", "--vol", file); err == nil {
		return fmt.Errorf("%s is there already, and no disk of an instance: virsh vol-delete it, or name another hd_image", file)
	}
	return nil
}

// clone makes a volume in the pool of the base.
func (s pools) clone(ctx context.Context, base image, to string, cheap bool, lock *os.File) error {
	if path.Dir(to) != path.Dir(base.file) {
		return fmt.Errorf("%s must be in the storage pool of base_image: %s", to, path.Dir(base.file))
	}
	out, err := s.virsh(ctx, command{}, "vol-pool", "--vol", base.file)
	if err != nil {
		return err
	}
	pool := strings.TrimSpace(out)
	if !cheap {
		_, err = s.virsh(ctx, command{lock: lock}, "vol-clone", "--pool", pool, "--vol", base.file, "--newname", path.Base(to))
		return err
	}
	_, err = s.virsh(ctx, command{lock: lock, stdin: fmt.Sprintf(
		"<volume><name>%s</name><capacity>%d</capacity><target><format type='qcow2'/></target><backingStore><path>%s</path><format type='%s'/></backingStore></volume>",
		escape(path.Base(to)), base.size, escape(base.file), escape(base.format))}, "vol-create", "--pool", pool, "--file", "/dev/stdin")
	return err
}

// free asks for the pool of the file.
func (s pools) free(ctx context.Context, file string) (int64, error) {
	pool, err := s.virsh(ctx, command{}, "vol-pool", "--vol", file)
	if err != nil {
		return 0, err
	}
	out, err := s.virsh(ctx, command{}, "pool-info", "--bytes", "--pool", strings.TrimSpace(pool))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(field(out, "Available"), 10, 64)
}

// remove deletes a volume. What virsh says of one that is not there and of one that cannot be
// deleted is the same, so the lists decide.
func (s pools) remove(ctx context.Context, file string) error {
	_, err := s.virsh(ctx, command{}, "vol-delete", "--vol", file)
	if err == nil {
		return nil
	}
	names, listErr := s.virsh(ctx, command{}, "pool-list", "--name")
	if listErr != nil {
		return listErr
	}
	for _, pool := range words(names) {
		volumes, listErr := s.virsh(ctx, command{}, "vol-list", "--pool", pool)
		if listErr != nil {
			return listErr
		}
		if slices.ContainsFunc(words(volumes), func(line string) bool { return strings.HasSuffix(line, " "+file) }) {
			return err
		}
	}
	return nil
}
