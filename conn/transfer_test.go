package conn

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestUpload(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		var file bytes.Buffer
		var accessed, modified float64
		out := p.run(t.Context(), s, Command{ID: "e-1", Name: "upload_file", Upload: &file,
			Stamp: func(a, m float64) { accessed, modified = a, m }})
		write := func(data any) int64 {
			return p.send("update_upload_file_write", map[string]any{"command_id": "e-1", "args": data})
		}
		p.answered(write([]byte("one ")))
		p.answered(write("two\xff")) // older packers send bytes as str (A.2)
		p.answered(p.send("update_upload_file_close", map[string]any{"command_id": "e-1"}))
		p.answered(p.send("update_upload_file_utime", map[string]any{"command_id": "e-1", "access_time": 5.5, "modified_time": 7}))
		p.update("e-1", rc(0))
		p.complete("e-1", nil)
		o := <-out
		if o.err != nil || o.rc != int64(0) || file.String() != "one two\uFFFD" || accessed != 5.5 || modified != 7 {
			t.Errorf("got %+v, %q, %v, %v", o, file.String(), accessed, modified)
		}
	})
}

// docs/protocol.md 0.2 item 20: the times of a missing file are nil.
func TestUploadNilTimes(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		out := p.run(t.Context(), s, Command{ID: "e-1", Name: "upload_file", Upload: io.Discard,
			Stamp: func(a, m float64) { t.Errorf("stamped with %v, %v", a, m) }})
		p.answered(p.send("update_upload_file_utime", map[string]any{"command_id": "e-1", "access_time": nil, "modified_time": nil}))
		p.complete("e-1", nil)
		<-out
	})
}

// A Write that fails aborts the upload: every block is answered with an exception.
func TestUploadFails(t *testing.T) {
	for _, op := range []string{"update_upload_file_write", "update_upload_directory_write"} {
		attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
			out := p.run(t.Context(), s, Command{ID: "e-1", Name: "upload_file", Upload: brokenWriter{}})
			for range 2 {
				if got := p.excepted(p.send(op, map[string]any{"command_id": "e-1", "args": []byte("x")})); got != errDisk.Error() {
					t.Errorf("answered %q", got)
				}
			}
			p.excepted(p.send("update_upload_directory_unpack", map[string]any{"command_id": "e-1"}))
			p.complete("e-1", "Failure: no space")
			if o := <-out; o.err == nil || o.err.Error() != "Failure: no space" {
				t.Errorf("got %v", o.err)
			}
		})
	}
}

// Many blocks sent at once, against the protocol, cost what one queue may hold.
func TestUploadWithoutWaiting(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		var file bytes.Buffer
		out := p.run(t.Context(), s, Command{ID: "e-1", Name: "upload_directory", Upload: &file})
		block := bytes.Repeat([]byte("x"), 300_000)
		go func() {
			for range 20 {
				p.send("update_upload_directory_write", map[string]any{"command_id": "e-1", "args": block})
			}
			p.send("update_upload_directory_unpack", map[string]any{"command_id": "e-1"})
			p.complete("e-1", nil)
		}()
		for i := range 22 {
			p.answered(int64(i))
		}
		if <-out; file.Len() != 6_000_000 {
			t.Errorf("%d bytes arrived", file.Len())
		}
	})
}

// docs/protocol.md 0.1 item 1: a read is answered with bin, at most length bytes, empty at
// the end.
func TestDownload(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		const text = "hello, worker"
		out := p.run(t.Context(), s, Command{ID: "e-1", Name: "download_file", Download: iotest.OneByteReader(strings.NewReader(text))})
		var got string
		for {
			seq := p.send("update_read_file", map[string]any{"command_id": "e-1", "length": 5})
			m := p.want("response")
			block, isBin := m["result"].([]byte)
			if m.seq() != seq || !isBin || len(block) > 5 {
				t.Fatalf("got %v, want bin", m)
			}
			if len(block) == 0 {
				break
			}
			got += string(block)
		}
		p.answered(p.send("update_read_file_close", map[string]any{"command_id": "e-1"}))
		p.complete("e-1", nil)
		if o := <-out; o.err != nil || got != text {
			t.Errorf("got %q, %v", got, o.err)
		}
	})
}

func TestDownloadBadLengths(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		out := p.run(t.Context(), s, Command{ID: "e-1", Name: "download_file", Download: iotest.DataErrReader(bytes.NewReader(make([]byte, 3<<20)))})
		for _, length := range []any{0, -1, "many", nil, 1.5} {
			p.excepted(p.send("update_read_file", map[string]any{"command_id": "e-1", "length": length}))
		}
		p.excepted(p.send("update_read_file", map[string]any{"command_id": "e-1"}))
		p.send("update_read_file", map[string]any{"command_id": "e-1", "length": int64(1) << 60})
		if block := p.want("response")["result"].([]byte); len(block) != maxBlock {
			t.Errorf("%d bytes at once", len(block))
		}
		p.complete("e-1", nil)
		<-out
	})
}

func TestDownloadFails(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		out := p.run(t.Context(), s, Command{ID: "e-1", Name: "download_file", Download: iotest.ErrReader(errDisk)})
		for range 2 {
			if got := p.excepted(p.send("update_read_file", map[string]any{"command_id": "e-1", "length": 10})); got != errDisk.Error() {
				t.Errorf("answered %q", got)
			}
		}
		p.complete("e-1", nil)
		<-out
	})
}

// What a command has no place for is refused, and nothing breaks.
func TestTransferOfOtherCommands(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		out := p.run(t.Context(), s, Command{ID: "e-1", Name: "shell"})
		p.excepted(p.send("update_upload_file_write", map[string]any{"command_id": "e-1", "args": []byte("x")}))
		p.excepted(p.send("update_read_file", map[string]any{"command_id": "e-1", "length": 10}))
		p.answered(p.update("e-1", rc(0)))
		p.complete("e-1", nil)
		if o := <-out; o.err != nil || o.rc != int64(0) {
			t.Errorf("got %+v", o)
		}
	})
}
