package conn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"buildstar/conn/wire"
)

func frame(t testing.TB, v any) []byte {
	t.Helper()
	b, err := wire.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Frames that are no messages cost the connection that sent them, and nothing else.
func TestHostileFrames(t *testing.T) {
	tests := map[string][]byte{
		"nothing":                 {},
		"not MessagePack":         []byte("\xc1hello"),
		"text":                    frame(t, "hello"),
		"no seq_number":           frame(t, map[string]any{"op": "update"}),
		"no op":                   frame(t, map[string]any{"seq_number": 1}),
		"op is a number":          frame(t, map[string]any{"op": 1, "seq_number": 1}),
		"seq_number is text":      frame(t, map[string]any{"op": "update", "seq_number": "1"}),
		"array of 2^31":           {0xdd, 0x7f, 0xff, 0xff, 0xff},
		"nested 5M deep":          bytes.Repeat([]byte{0x91}, 5_000_000),
		"answer to nothing":       wire.AppendResponse(nil, 99, nil),
		"exception to nothing":    wire.AppendException(nil, 99, "x"),
		"answer in the far away":  wire.AppendResponse(nil, 1<<62, nil),
		"a frame that is too big": make([]byte, wire.MaxFrame+1),
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, srv *Server, y *yard) {
				p, q := connect(t, srv, "w1"), connect(t, srv, "w2")
				s := p.attach(y)
				other := q.attach(y)
				run := p.run(t.Context(), s, Command{ID: "e-1", Name: "shell"})
				healthy := q.run(t.Context(), other, Command{ID: "e-2", Name: "shell"})
				p.raw(b)
				err := ended(s)
				want := ErrLost
				if len(b) > wire.MaxFrame {
					want = ErrFrameTooBig // and not ErrLost: the build must not be retried
				}
				if !errors.Is(err, want) || errors.Is(err, ErrLost) != (want == ErrLost) {
					t.Errorf("ended with %v", err)
				}
				if o := <-run; !errors.Is(o.err, want) {
					t.Errorf("the command ended with %v", o.err)
				}
				q.answered(q.update("e-2", stdout("fine\n")))
				q.complete("e-2", nil)
				if o := <-healthy; o.err != nil || o.text != "fine\n" {
					t.Errorf("the other worker suffered: %+v", o)
				}
				again := connect(t, srv, "w1")
				again.reply(again.want("get_worker_info"), info())
			})
		})
	}
}

// Messages with a sound envelope and nonsense inside are answered, each once, and the
// session goes on.
func TestHostileRequests(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		out := p.run(t.Context(), s, Command{ID: "e-1", Name: "shell"})
		tests := []struct {
			op     string
			fields map[string]any
			want   string
		}{
			{"nonsense", nil, "Command nonsense does not exist."},
			{"start_command", map[string]any{"command_id": "e-1"}, "does not exist"},
			{"update", map[string]any{"command_id": "e-1"}, `obligatory "args" key`},
			{"update", map[string]any{"args": []any{}}, `obligatory "command_id" key`},
			{"update", map[string]any{"command_id": 7, "args": []any{}}, `obligatory "command_id" key`},
			{"update", map[string]any{"command_id": "e-1", "args": "text"}, "malformed"},
			{"update", map[string]any{"command_id": "e-1", "args": []any{[]any{"stdout", "text"}}}, "malformed"},
			{"update", map[string]any{"command_id": "unknown", "args": []any{}}, `unknown "command_id"`},
			{"complete", map[string]any{"command_id": "unknown", "args": nil}, `unknown "command_id"`},
			{"complete", map[string]any{"command_id": "e-1"}, `obligatory "args" key`},
			{"complete", map[string]any{}, `obligatory "command_id" key`},
			{"update_upload_file_write", map[string]any{"command_id": "e-1"}, `obligatory "args" key`},
			{"update_upload_file_write", map[string]any{"command_id": "e-1", "args": 7}, "no text"},
			{"update_upload_file_utime", map[string]any{"command_id": "e-1", "access_time": 1.0}, `obligatory "modified_time" key`},
			{"update_read_file_close", map[string]any{}, `obligatory "command_id" key`},
		}
		for _, tt := range tests {
			if got := p.excepted(p.send(tt.op, tt.fields)); !strings.Contains(got, tt.want) {
				t.Errorf("%s %v: answered %q, want %q", tt.op, tt.fields, got, tt.want)
			}
		}
		p.answered(p.update("e-1", rc(0)))
		p.answered(p.complete("e-1", nil))
		if o := <-out; o.err != nil || o.rc != int64(0) {
			t.Errorf("got %+v", o)
		}
		p.nothing()
	})
}

// A worker that asks and asks but never reads is cut off before it costs much memory.
func TestDeafWorker(t *testing.T) {
	attached(t, func(t *testing.T, srv *Server, p *peer, s Session) {
		done := make(chan int)
		go func() {
			b, _ := wire.AppendRequest(nil, 0, "nonsense", nil)
			n := 0
			for p.tr.Write(b) == nil {
				n++
			}
			done <- n
		}()
		start := time.Now()
		if err := ended(s); !errors.Is(err, errDeaf) {
			t.Errorf("ended with %v", err)
		}
		if n := <-done; n > 2*maxQueued || time.Since(start) > second {
			t.Errorf("took %d messages and %v", n, time.Since(start))
		}
	})
}

// FuzzSession feeds a whole session with frames: whatever they are, each request that
// can be answered is answered once, and the server lives and ends.
func FuzzSession(f *testing.F) {
	add := func(op string, fields map[string]any) {
		b, err := wire.AppendRequest(nil, 5, op, fields)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, b)
	}
	add("update", map[string]any{"command_id": "e-1", "args": []any{stdout("a\n"), rc(0)}})
	add("complete", map[string]any{"command_id": "e-1", "args": nil})
	add("update_upload_file_write", map[string]any{"command_id": "e-1", "args": []byte("x")})
	add("update_read_file", map[string]any{"command_id": "e-1", "length": 10})
	add("update_upload_file_utime", map[string]any{"command_id": "e-1", "access_time": 1.0, "modified_time": nil})
	f.Add(wire.AppendResponse(nil, 0, "x"), wire.AppendException(nil, 1, "x"))
	f.Add([]byte{0xdd, 0x7f, 0xff, 0xff, 0xff}, []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			srv, y := newYard(Options{})
			p := connect(t, srv, "w1")
			s := p.attach(y)
			var file bytes.Buffer
			updates := make(chan outcome, 1)
			go func() {
				updates <- collect(t.Context(), s, Command{ID: "e-1", Name: "shell", Upload: &file, Download: strings.NewReader("text"), Stamp: func(a, m float64) {}})
			}()
			p.reply(p.want("start_command"), nil)
			answers := make(chan map[int64]int)
			go func() {
				got := map[int64]int{}
				for {
					m, err := p.read()
					if err != nil {
						answers <- got
						return
					}
					if m["op"] == "response" {
						got[m.seq()]++
					}
				}
			}()
			want := map[int64]int{}
			for _, frame := range [][]byte{a, b} {
				var m wire.Message
				if p.tr.Write(frame) != nil {
					break
				}
				if m.Parse(frame) == nil && m.Op != wire.OpResponse {
					want[m.Seq]++
				}
				synctest.Wait()
			}
			alive := s.Err() == nil
			if err := srv.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
			got := <-answers
			for seq, n := range got {
				if n > want[seq] {
					t.Errorf("request %d was answered %d times, made %d times", seq, n, want[seq])
				}
			}
			if alive && fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("answered %v, want %v", got, want)
			}
			<-updates
		})
	})
}
