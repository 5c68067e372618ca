package conn

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"buildstar/conn/wire"
)

// lean is a worker that costs this process next to nothing while it idles: a bare
// connection. It is a wire.Transport for the scripted peer.
type lean struct {
	conn net.Conn
	in   *bufio.Reader // shared by all
}

func dialLean(b testing.TB, address, name string, in *bufio.Reader) *lean {
	b.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	in.Reset(c)
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: m\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nAuthorization: %s\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", basic(name+":pa:ss"))
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 101 {
		b.Fatal(err, resp)
	}
	return &lean{c, in}
}

func (l *lean) Write(p []byte) error {
	frame := appendFrameHeader(nil, 2, len(p))
	frame[1] |= 0x80                  // masked,
	frame = append(frame, 0, 0, 0, 0) // with a mask that changes nothing
	_, err := l.conn.Write(append(frame, p...))
	return err
}

func (l *lean) Read() ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(l.in, head[:]); err != nil {
		return nil, err
	}
	size := uint64(head[1])
	if size >= 126 {
		ext := make([]byte, 2+6*(size-126))
		if _, err := io.ReadFull(l.in, ext); err != nil {
			return nil, err
		}
		if size = uint64(binary.BigEndian.Uint16(ext)); len(ext) == 8 {
			size = binary.BigEndian.Uint64(ext)
		}
	}
	b := make([]byte, size)
	_, err := io.ReadFull(l.in, b)
	return b, err
}

func (l *lean) Ping(ctx context.Context) error { return ctx.Err() }
func (l *lean) Close(string) error             { return l.conn.Close() }

// memory is what the heap and the stacks hold after everything unused is gone.
func memory() uint64 {
	for range 4 { // a stack shrinks by half each time
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// BenchmarkIdleWorkers reports the memory of an attached worker that has nothing to do,
// its information included (about 60 bytes of it are the other end's).
func BenchmarkIdleWorkers(b *testing.B) {
	const count = 1000
	for b.Loop() {
		srv, y := newYard(Options{})
		srv.log = slog.New(slog.DiscardHandler)
		web := httptest.NewServer(srv)
		in := bufio.NewReader(nil)
		var conns []*lean
		before := memory()
		for i := range count {
			name := fmt.Sprint("worker-", i)
			c := dialLean(b, strings.TrimPrefix(web.URL, "http://"), name, in)
			conns = append(conns, c)
			p := &peer{t: b, tr: c}
			m := info()
			m["basedir"] = "/srv/ci/" + name
			m["host"] = "the machine of " + name
			for j := range 20 {
				m["environ"].(map[string]any)[fmt.Sprint("VARIABLE_", j)] = "some value of an environment variable"
				m[fmt.Sprint("os_fact_", j%8)] = "the same on every machine"
			}
			p.reply(p.want("get_worker_info"), m)
			p.reply(p.want("set_worker_settings"), nil)
			<-y.attached
		}
		after := memory()
		b.ReportMetric(float64(after-before)/1024/count, "KiB/worker")
		for _, c := range conns {
			c.Close("")
		}
		if err := srv.Shutdown(context.Background()); err != nil {
			b.Fatal(err)
		}
		web.Close()
	}
}

// BenchmarkCommand is a command from its start to its end, over a pipe: what a build
// of one step costs here.
func BenchmarkCommand(b *testing.B) {
	srv, y := newYard(Options{})
	p := connect(b, srv, "w1")
	s := p.attach(y)
	go func() {
		for {
			m, err := p.read()
			if err != nil {
				return
			}
			if m["op"] == "start_command" {
				id := m["command_id"].(string)
				p.reply(m, nil)
				p.update(id, stdout("out\n"), rc(0))
				p.complete(id, nil)
			}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		if o := collect(b.Context(), s, Command{Name: "shell"}); o.err != nil || o.text != "out\n" {
			b.Fatal(o.err)
		}
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLog is the way of a log's text from the socket to the body of the loop, in
// MB of text; the worker's side of it is in the same process.
func BenchmarkLog(b *testing.B) {
	for _, bench := range []struct {
		name, line string
		lines      int
	}{{"80-byte lines", strings.Repeat("x", 79) + "\n", 220}, {"yes", "y\n", 3600}} {
		b.Run(bench.name, func(b *testing.B) {
			_, y, dial := served(b, Options{})
			p := dial("w1")
			s := p.attach(y)
			text := []byte(strings.Repeat(bench.line, bench.lines))
			updates, next := make(chan int64, 1), make(chan bool)
			go func() {
				total := int64(0)
				u, err := s.Run(context.Background(), Command{ID: "e-1", Name: "shell"})
				if err == nil {
					for u := range u {
						for _, e := range u.Entries {
							total += int64(len(e.Text))
						}
					}
				}
				updates <- total
				close(next)
			}()
			p.reply(p.want("start_command"), nil)
			go func() {
				for {
					if _, err := p.tr.Read(); err != nil {
						return
					}
				}
			}()
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var buf []byte
			n := int64(0)
			for b.Loop() {
				buf, _ = wire.AppendUpdate(buf[:0], n, "e-1", []wire.Entry{{Key: wire.Stdout, Text: text, Times: []wire.TimeRun{{Lines: bench.lines, Millis: 1}}}})
				if err := p.tr.Write(buf); err != nil {
					b.Fatal(err)
				}
				n++
			}
			p.seq = n
			p.complete("e-1", nil)
			if total := <-updates; total != n*int64(len(text)) {
				b.Fatalf("%d bytes arrived, want %d", total, n*int64(len(text)))
			}
			<-next
		})
	}
}
