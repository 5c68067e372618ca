package worker

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"buildstar/conn/wire"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(b)
	return b
}

func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A pipe without another end is no reason to wait for ever: the command, and with it the
// worker, could not be ended any more.
func TestTransferPipe(t *testing.T) {
	m := startWorker(t)
	path := filepath.Join(m.basedir, "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r := m.run(wire.CmdUploadFile, cmdArgs{"path": path, "blocksize": 1000, "maxsize": nil})
	r.rc(t, 0)
	if len(r.upload) != 0 {
		t.Errorf("uploaded %d bytes", len(r.upload))
	}
	m.run(wire.CmdDownloadFile, cmdArgs{"path": path, "blocksize": 1000, "maxsize": nil, "mode": nil}).rc(t, 1)
}

func TestUploadFile(t *testing.T) {
	m := startWorker(t)
	big := randomBytes(20 << 20)
	data := big[:1<<20]
	path := filepath.Join(m.basedir, "small")
	put(t, path, data)
	put(t, path+"-not", big)
	tests := []struct {
		name    string
		more    cmdArgs
		prepare func(*remote)
		rc      int64
		stderr  string
		failure string
		sent    int
		ops     []string // the last of them, before complete
	}{
		{"20 MiB", cmdArgs{"path": path + "-not"}, nil, 0, "", "", len(big), nil},
		{"whole", cmdArgs{}, nil, 0, "", "", len(data), []string{wire.OpUploadFileWrite, wire.OpUploadFileClose}},
		{"keepstamp", cmdArgs{"keepstamp": true}, nil, 0, "", "", len(data), []string{wire.OpUploadFileClose, wire.OpUploadFileUtime}},
		{"exactly maxsize", cmdArgs{"maxsize": len(data)}, nil, 0, "", "", len(data), nil},
		{"one byte too big", cmdArgs{"maxsize": len(data) - 1}, nil, 1, "Maximum filesize reached, truncating file", "", len(data) - 1, nil},
		{"missing", cmdArgs{"path": filepath.Join(m.basedir, "nope")}, nil, 1, "Cannot open file '", "", 0, []string{wire.OpUploadFileClose}},
		{"a directory", cmdArgs{"path": m.basedir}, nil, 1, "Cannot open file '", "", 0, nil},
		{"refused", cmdArgs{}, func(r *remote) { r.refuse = wire.OpUploadFileWrite }, 1, "", "the master answered: disk full", 256 << 10,
			[]string{wire.OpUploadFileWrite, wire.OpUploadFileClose}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := cmdArgs{"path": path, "blocksize": 256 << 10, "maxsize": nil}
			for k, v := range tt.more {
				args[k] = v
			}
			prepare := func(r *remote) {
				if tt.prepare != nil {
					tt.prepare(r)
				}
			}
			r := m.run(wire.CmdUploadFile, args, prepare)
			r.rc(t, tt.rc)
			contains(t, "stderr", r.texts[wire.Stderr], tt.stderr)
			contains(t, "header", r.texts[wire.Header], "sending ")
			if !bytes.Equal(r.upload, big[:tt.sent]) {
				t.Errorf("%d bytes came, want the first %d of the file", len(r.upload), tt.sent)
			}
			if got, _ := r.failure.(string); got != tt.failure {
				t.Errorf("complete = %q, want %q", got, tt.failure)
			}
			if got := r.ops[:len(r.ops)-1]; tt.ops != nil && !slices.Equal(got[max(0, len(got)-len(tt.ops)):], tt.ops) {
				t.Errorf("requests end in %v, want %v", got[max(0, len(got)-len(tt.ops)):], tt.ops)
			}
			if tt.more["keepstamp"] == true {
				st, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if got := r.stamp[1]; got != float64(st.ModTime().UnixNano())/1e9 {
					t.Errorf("modified = %v, want %v", got, st.ModTime())
				}
			}
		})
	}
}

// An upload whose block is never answered ends when it is interrupted.
func TestInterruptTransfer(t *testing.T) {
	m := startWorker(t)
	path := filepath.Join(m.basedir, "f")
	put(t, path, randomBytes(100))
	for name, op := range map[string]string{
		wire.CmdUploadFile: wire.OpUploadFileWrite, wire.CmdUploadDirectory: wire.OpUploadDirectoryWrite, wire.CmdDownloadFile: wire.OpReadFile,
	} {
		t.Run(name, func(t *testing.T) {
			target := path
			if name == wire.CmdUploadDirectory {
				target = m.basedir
			}
			id, r := m.begin(name, cmdArgs{"path": target, "blocksize": 10, "maxsize": nil, "mode": nil, "compress": nil}, func(r *remote) {
				r.withhold, r.source = op, strings.NewReader("")
			})
			m.wait(op, func() bool { return slices.Contains(r.ops, op) })
			m.interrupt(id)
			m.finish(r)
			r.rc(t, 1)
			if r.values[wire.Elapsed] != nil || r.failure != nil || r.texts[wire.Stderr] != "" {
				t.Errorf("elapsed = %v, complete = %v, stderr = %q; want none", r.values[wire.Elapsed], r.failure, r.texts[wire.Stderr])
			}
		})
	}
	if b, err := os.ReadFile(path); err != nil || len(b) != 100 {
		t.Errorf("an interrupted download changed the file: %d bytes, %v", len(b), err)
	}
}

func TestDownloadFile(t *testing.T) {
	m := startWorker(t)
	big := randomBytes(20 << 20)
	data := big[:1<<20]
	old := filepath.Join(m.basedir, "old")
	put(t, old, []byte("old"))
	link := filepath.Join(m.basedir, "link")
	if err := os.Symlink("old", link); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		path    string
		more    cmdArgs
		prepare func(*remote)
		rc      any
		stderr  string
		failure string
		want    []byte // nil: no file
		perm    os.FileMode
	}{
		{"20 MiB", "big", nil, func(r *remote) { r.source = bytes.NewReader(big) }, int64(0), "", "", big, 0},
		{"whole, in new directories", "a/b/f", cmdArgs{"mode": 0o640}, nil, int64(0), "", "", data, 0o640},
		{"exactly maxsize", "g", cmdArgs{"maxsize": len(data)}, nil, int64(0), "", "", data, 0},
		{"too big", "h", cmdArgs{"maxsize": len(data) - 1}, nil, int64(1), "Maximum filesize reached", "", nil, 0},
		{"refused", "i", nil, func(r *remote) { r.refuse = wire.OpReadFile }, int64(1), "", "the master answered: disk full", nil, 0},
		{"over a link", "link", nil, nil, int64(0), "", "", data, 0o644},
		{"over a directory", "a", nil, nil, int64(1), "Cannot open file '", "", nil, 0},
		{"no directory can be made", "old/f", nil, nil, nil, "", "create directory of", nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(m.basedir, tt.path)
			args := cmdArgs{"path": path, "blocksize": 256 << 10, "maxsize": nil, "mode": nil}
			for k, v := range tt.more {
				args[k] = v
			}
			r := m.run(wire.CmdDownloadFile, args, func(r *remote) {
				r.source = bytes.NewReader(data)
				if tt.prepare != nil {
					tt.prepare(r)
				}
			})
			if r.values[wire.RC] != tt.rc {
				t.Errorf("rc = %v, want %v", r.values[wire.RC], tt.rc)
			}
			contains(t, "stderr", r.texts[wire.Stderr], tt.stderr)
			got, _ := r.failure.(string)
			contains(t, "complete", got, tt.failure)
			if tt.failure == "" && got != "" {
				t.Errorf("complete = %q", got)
			}
			b, err := os.ReadFile(path)
			if tt.want == nil && err == nil {
				t.Errorf("the file is there, %d bytes", len(b))
			}
			if tt.want != nil && !bytes.Equal(b, tt.want) {
				t.Errorf("%d bytes arrived, want %d; %v", len(b), len(tt.want), err)
			}
			if st, err := os.Stat(path); tt.perm != 0 && (err != nil || st.Mode().Perm() != tt.perm) {
				t.Errorf("mode = %v, %v; want %v", st.Mode(), err, tt.perm)
			}
		})
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(m.basedir, ".download-*")); left != nil {
		t.Errorf("temporary files are left: %v", left)
	}
}

// tree makes a directory with everything odd in it.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	want := map[string]string{
		"./": "dir", "a": "1\n", "sub/": "dir", "sub/b": "2\n", "empty/": "dir",
		"odd \n name": "x", "\u00e9\U0001f600": "y", strings.Repeat("n", 200) + "/": "dir",
		strings.Repeat("n", 200) + "/" + strings.Repeat("m", 200): "long",
		"link": "-> sub/b", "dangling": "-> /nowhere", "dirlink": "-> sub",
	}
	for name, text := range want {
		path := filepath.Join(dir, name)
		var err error
		switch {
		case text == "dir":
			err = os.MkdirAll(path, 0o755)
		case strings.HasPrefix(text, "-> "):
			err = errors.Join(os.MkdirAll(dir, 0o755), os.Symlink(text[3:], path))
		default:
			put(t, path, []byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "a"), 0o751); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "a"), time.Unix(1e9, 0), time.Unix(1e9, 5e8)); err != nil {
		t.Fatal(err)
	}
	return want
}

func untar(t testing.TB, r io.Reader) map[string]string {
	t.Helper()
	got := map[string]string{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			got[h.Name] = "dir"
		case tar.TypeSymlink:
			got[h.Name] = "-> " + h.Linkname
		case tar.TypeReg:
			b, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			got[h.Name] = string(b)
			if h.Name == "a" && (h.Mode != 0o751 || !h.ModTime.Equal(time.Unix(1e9, 5e8))) {
				t.Errorf("a: mode %o, modified %v", h.Mode, h.ModTime)
			}
		default:
			t.Errorf("%s has type %c", h.Name, h.Typeflag)
		}
	}
}

func TestUploadDirectory(t *testing.T) {
	m := startWorker(t)
	dir := filepath.Join(m.basedir, "d")
	want := tree(t, dir)
	l, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(l)
	if err := syscall.Bind(l, &syscall.SockaddrUnix{Name: filepath.Join(dir, "sock")}); err != nil {
		t.Fatal(err)
	}
	open := map[string]func(io.Reader) (io.Reader, error){
		"":    func(r io.Reader) (io.Reader, error) { return r, nil },
		"gz":  func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"bz2": func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil },
	}
	var size int
	for how, reader := range open {
		t.Run("compress "+how, func(t *testing.T) {
			var compress any
			if how != "" {
				compress = how
			}
			r := m.run(wire.CmdUploadDirectory, cmdArgs{"path": dir, "blocksize": 1000, "maxsize": nil, "compress": compress})
			r.rc(t, 0)
			if n := len(r.ops); n < 2 || r.ops[n-2] != wire.OpUploadDirectoryDone {
				t.Fatalf("requests = %v", r.ops)
			}
			if how == "" {
				size = len(r.upload)
			}
			in, err := reader(bytes.NewReader(r.upload))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, untar(t, in)); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, tt := range []struct {
		name   string
		more   cmdArgs
		rc     int64
		stderr string
	}{
		{"exactly maxsize", cmdArgs{"maxsize": size}, 0, ""},
		{"too big", cmdArgs{"maxsize": size - 1}, 1, "Maximum filesize reached"},
		{"too big, bz2", cmdArgs{"maxsize": 10, "compress": "bz2"}, 1, "Maximum filesize reached"},
		{"missing", cmdArgs{"path": "/no/such/dir"}, 1, "Cannot read directory '/no/such/dir' for upload: [Errno 2] No such file or directory: '/no/such/dir'\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := cmdArgs{"path": dir, "blocksize": 1000, "maxsize": nil, "compress": nil}
			for k, v := range tt.more {
				args[k] = v
			}
			r := m.run(wire.CmdUploadDirectory, args)
			r.rc(t, tt.rc)
			contains(t, "stderr", r.texts[wire.Stderr], tt.stderr)
			if tt.rc != 0 && slices.Contains(r.ops, wire.OpUploadDirectoryDone) {
				t.Error("a cut archive is to be unpacked")
			}
		})
	}
	t.Run("bzip2 is not installed", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		r := m.run(wire.CmdUploadDirectory, cmdArgs{"path": dir, "blocksize": 1000, "maxsize": nil, "compress": "bz2"})
		r.rc(t, 1)
		contains(t, "stderr", r.texts[wire.Stderr], "install bzip2 on the worker")
	})
}
