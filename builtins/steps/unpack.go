package steps

import (
	"archive/tar"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// badArchive says why what a worker sent as a directory is refused.
type badArchive struct{ err error }

func (b *badArchive) Error() string { return "the archive is refused: " + b.err.Error() }
func (b *badArchive) Unwrap() error { return b.err }

func refuse(format string, args ...any) error { return &badArchive{fmt.Errorf(format, args...)} }

// unpacker writes the members of a tar below a directory, and nowhere else: os.Root
// stops what the checks of names and links might let through.
type unpacker struct {
	root *os.Root
	buf  []byte
	made string // the directory that parent saw last
}

// unpack reads a tar, compressed or not, to its very end. It takes regular files,
// directories, and links that stay inside; anything else makes it fail.
func unpack(root *os.Root, compress string, from io.Reader) error {
	in := from
	switch compress {
	case "gz":
		z, err := gzip.NewReader(from)
		if err != nil {
			return refuse("%w", err)
		}
		in = z
	case "bz2":
		in = bzip2.NewReader(from)
	}
	u := &unpacker{root: root, buf: make([]byte, 64<<10)}
	if err := u.members(tar.NewReader(in)); err != nil {
		return err
	}
	for _, r := range []io.Reader{in, from} { // checksums, and padding after the end
		if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, u.buf); err != nil {
			return refuse("%w", err)
		}
	}
	return nil
}

func (u *unpacker) members(t *tar.Reader) error {
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return refuse("%w", err)
		}
		if err := u.member(h, t); err != nil {
			return err
		}
	}
}

func (u *unpacker) member(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	dir := h.Typeflag == tar.TypeDir
	switch h.Name { // the directory itself
	case "", "/", ".", "./":
		if !dir {
			return refuse("the directory itself is no directory")
		}
		return u.root.Chmod(".", dirMode(h))
	}
	name := h.Name
	if dir {
		name = strings.TrimRight(name, "/")
	}
	if !filepath.IsLocal(name) || path.Clean(name) == "." || hasDotDot(name) {
		return refuse("%q would be outside of the directory", clipped(h.Name))
	}
	name = path.Clean(name)
	if err := u.parent(path.Dir(name)); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.dir(name, h)
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(name, h, content)
	case tar.TypeSymlink:
		return u.symlink(name, h)
	case tar.TypeLink:
		return u.link(name, h)
	}
	return refuse("%q is neither a file, a directory nor a link", clipped(h.Name))
}

func hasDotDot(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

func clipped(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}

// parent makes a directory and those above it. None of them may be a link: a link
// that stays inside where it is might not where it leads.
func (u *unpacker) parent(dir string) error {
	if dir == "." || dir == u.made {
		return nil
	}
	if err := u.parent(path.Dir(dir)); err != nil {
		return err
	}
	if err := u.mkdir(dir); err != nil {
		return err
	}
	u.made = dir
	return nil
}

func (u *unpacker) mkdir(name string) error {
	err := u.root.Mkdir(name, 0o777)
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := u.root.Lstat(name)
	if err == nil && !st.IsDir() {
		return refuse("%q is a directory and something else", clipped(name))
	}
	return err
}

// dirMode is the mode of a directory; its owner can always remove what is in it.
func dirMode(h *tar.Header) fs.FileMode { return h.FileInfo().Mode().Perm() | 0o700 }

func (u *unpacker) dir(name string, h *tar.Header) error {
	if err := u.mkdir(name); err != nil {
		return err
	}
	return u.root.Chmod(name, dirMode(h))
}

// clear makes room for a member that comes a second time.
func (u *unpacker) clear(name string) error {
	st, err := u.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.IsDir():
		return refuse("%q is a directory and something else", clipped(name))
	}
	return u.root.Remove(name)
}

func (u *unpacker) file(name string, h *tar.Header, content io.Reader) error {
	if err := u.clear(name); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err := u.copy(f, content); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Chmod(h.FileInfo().Mode().Perm()), f.Close()); err != nil {
		return err
	}
	return u.root.Chtimes(name, h.AccessTime, h.ModTime)
}

// copy copies the content of a file. What fails on the way in is the archive's fault.
func (u *unpacker) copy(f *os.File, content io.Reader) error {
	for {
		n, err := content.Read(u.buf)
		if _, werr := f.Write(u.buf[:n]); werr != nil {
			return werr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return refuse("%w", err)
		}
	}
}

func (u *unpacker) symlink(name string, h *tar.Header) error {
	if !staysInside(path.Dir(name), h.Linkname) {
		return refuse("the link %q leads outside of the directory, to %q", clipped(h.Name), clipped(h.Linkname))
	}
	if err := u.clear(name); err != nil {
		return err
	}
	return u.root.Symlink(h.Linkname, name)
}

// staysInside reports whether a link in dir leads to somewhere in the tree, whatever
// links it leads through: ".." comes first in it only, where it counts directories.
func staysInside(dir, target string) bool {
	if target == "" || path.IsAbs(target) || filepath.IsAbs(target) {
		return false
	}
	depth := 0
	if dir != "." {
		depth = strings.Count(dir, "/") + 1
	}
	down := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; down || depth < 0 {
				return false
			}
		default:
			down = true
		}
	}
	return true
}

// link makes another name of a file that came before.
func (u *unpacker) link(name string, h *tar.Header) error {
	target := path.Clean(h.Linkname)
	if !filepath.IsLocal(h.Linkname) || hasDotDot(h.Linkname) {
		return refuse("the link %q leads outside of the directory, to %q", clipped(h.Name), clipped(h.Linkname))
	}
	st, err := u.root.Lstat(target)
	if err != nil || !st.Mode().IsRegular() {
		return refuse("%q is the same as %q, which is no file before it", clipped(h.Name), clipped(h.Linkname))
	}
	if target == name {
		return nil
	}
	if err := u.clear(name); err != nil {
		return err
	}
	return u.root.Link(target, name)
}
