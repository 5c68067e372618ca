package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"syscall"
)

// A storage has the disks of domains.
type storage interface {
	// inspect returns what a disk is; it must not be a guest's: its first bytes decide.
	inspect(ctx context.Context, file string) (image, error)
	// makeRoom removes what is in the place of a disk, or says why that may not be.
	makeRoom(ctx context.Context, file string) error
	// clone makes a disk of another: on top of it if it is cheap.
	clone(ctx context.Context, base image, to string, cheap bool, lock *os.File) error
	// free returns how many bytes there are for disks beside a file.
	free(ctx context.Context, file string) (int64, error)
	// remove removes a disk. It succeeds if there is none.
	remove(ctx context.Context, file string) error
}

// image is a disk in a file.
type image struct {
	file   string
	format string // qcow2, raw
	size   int64  // bytes that the guest sees
}

// diskOf returns the path of the disk that is made for an instance; "": none is.
func diskOf(w *wanted, basedir, master, worker string, attempt int64) string {
	switch {
	case w.baseImage == "":
		return ""
	case w.hdImage != "":
		return absolute(basedir, w.hdImage)
	}
	suffix := ".qcow2"
	if !w.cheap {
		suffix = path.Ext(w.baseImage)
	}
	return path.Join(path.Dir(absolute(basedir, w.baseImage)), worker+"-"+master+"-"+strconv.FormatInt(attempt, 10)+suffix)
}

func absolute(basedir, file string) string {
	if path.IsAbs(file) {
		return path.Clean(file)
	}
	return filepath.Join(basedir, file)
}

// files are disks of this machine.
type files struct{ exec runner }

// inspect asks qemu-img, also if domains read the file.
func (s files) inspect(ctx context.Context, file string) (image, error) {
	out, err := s.exec.run(ctx, command{argv: []string{"qemu-img", "info", "--force-share", "--output=json", file}})
	if err != nil {
		return image{}, err
	}
	return parseInfo(file, out)
}

// parseInfo reads what qemu-img info prints.
func parseInfo(file, out string) (image, error) {
	var info struct {
		Format string `json:"format"`
		Size   int64  `json:"virtual-size"`
	}
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		return image{}, fmt.Errorf("read what qemu-img says of %s: %w", file, err)
	}
	if info.Format == "" || info.Size < 0 {
		return image{}, fmt.Errorf("qemu-img does not say what %s is", file)
	}
	return image{file, info.Format, info.Size}, nil
}

func (s files) clone(ctx context.Context, base image, to string, cheap bool, lock *os.File) error {
	argv := []string{"cp", "--reflink=auto", "--sparse=auto", "--", base.file, to}
	if cheap {
		argv = []string{"qemu-img", "create", "-q", "-f", "qcow2", "-b", base.file, "-F", base.format, to}
	}
	_, err := s.exec.run(ctx, command{argv: argv, lock: lock})
	return err
}

// makeRoom removes what is in the place of a disk, unless a domain uses it, which qemu-img
// is told by a lock.
func (s files) makeRoom(ctx context.Context, file string) error {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file: it would be overwritten", file)
	}
	if _, err := s.exec.run(ctx, command{argv: []string{"qemu-img", "info", file}}); err != nil {
		return fmt.Errorf("overwrite %s: %w", file, err)
	}
	return os.Remove(file)
}

func (s files) remove(_ context.Context, file string) error {
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (files) free(_ context.Context, file string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(file), &s); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: filepath.Dir(file), Err: err}
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
