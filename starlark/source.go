package starlark

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile is how big a file may be that an evaluation reads.
const maxFile = 1 << 20

// maxFiles is how many files an evaluation may read.
const maxFiles = 1000

// A source is where files come from. Names are relative to the directory of
// master.star, with slashes, and clean.
type source interface {
	read(name string) ([]byte, error)
}

var errTooBig = fmt.Errorf("it is bigger than %d KiB", maxFile>>10)

// dirSource reads below a directory. Symlinks may not lead out of it.
type dirSource struct{ root *os.Root }

func (s dirSource) read(name string) ([]byte, error) {
	f, err := s.root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, errTooBig
	}
	return data, nil
}

// mapSource is recorded inputs.
type mapSource map[string][]byte

func (s mapSource) read(name string) ([]byte, error) {
	data, ok := s[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return data, nil
}

// reason returns why a file could not be read, without the operation and path
// that the os package adds.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case strings.Contains(err.Error(), "escapes"):
		return "it is a symlink that leads out of the directory of master.star"
	}
	return err.Error()
}
