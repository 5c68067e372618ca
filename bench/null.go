package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/tinylib/msgp/msgp"

	"buildstar/conn/wire"
)

// nullMain runs null workers w0, w1, ...: they answer every command at once. A
// command that contains "LOG n" sends n MB of log first.
func nullMain(args []string) error {
	fs := flag.NewFlagSet("null", flag.ExitOnError)
	url := fs.String("url", "", "ws://HOST:PORT")
	n := fs.Int("n", 1, "how many")
	lasting := fs.Bool("lasting", false, "say that commands outlive the connection, as our own worker does")
	fs.Parse(args)
	var wg sync.WaitGroup
	for i := range *n {
		wg.Go(func() {
			if err := null(context.Background(), *url, fmt.Sprint("w", i), *lasting, func(string) {}); err != nil {
				fmt.Fprintf(os.Stderr, "null worker %d: %v\n", i, err)
			}
		})
	}
	wg.Wait()
	return nil
}

// null is one of them until ctx ends. heard is called with the name of each command when
// it arrives.
func null(ctx context.Context, url, name string, lasting bool, heard func(command string)) error {
	auth := "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":p"))
	d := websocket.Dialer{WriteBufferSize: 128 << 10}
	c, _, err := d.DialContext(ctx, url, http.Header{"Authorization": {auth}})
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	w := nullWorker{c: c, lasting: lasting, basedir: "/null/" + name, heard: heard}
	for {
		_, data, err := c.ReadMessage()
		if err != nil {
			return err
		}
		v, _, err := msgp.ReadIntfBytes(data)
		if err != nil {
			return err
		}
		m, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("message is %T", v)
		}
		if err := w.handle(m); err != nil {
			return err
		}
	}
}

type nullWorker struct {
	c       *websocket.Conn
	basedir string
	lasting bool
	heard   func(string)
	seq     int64
	buf     []byte
}

func (w *nullWorker) send(m map[string]any) error {
	var err error
	if w.buf, err = msgp.AppendMapStrIntf(w.buf[:0], m); err != nil {
		return err
	}
	return w.c.WriteMessage(websocket.BinaryMessage, w.buf)
}

func (w *nullWorker) request(op, id string, args any) error {
	w.seq++
	return w.send(map[string]any{"op": op, "seq_number": w.seq - 1, "command_id": id, "args": args})
}

func (w *nullWorker) handle(m map[string]any) error {
	op, _ := m["op"].(string)
	if command, ok := m["command_name"].(string); ok {
		w.heard(command)
	}
	var result any
	switch op {
	case "response":
		return nil
	case "get_worker_info":
		info := map[string]any{"basedir": w.basedir, "system": "posix", "version": "3.7.0", "numcpus": int64(2), "environ": map[string]any{},
			"worker_commands": map[string]any{"shell": "3.1", "listdir": "3.1", "mkdir": "3.1"}, "delete_leftover_dirs": false}
		if w.lasting {
			info[wire.InfoOurs] = map[string]any{wire.OursResume: int64(1), wire.OursLife: "bench", wire.OursRunning: []any{}}
		}
		result = info
	}
	if err := w.send(map[string]any{"op": "response", "seq_number": m["seq_number"], "result": result}); err != nil {
		return err
	}
	if op != "start_command" {
		return nil
	}
	id, _ := m["command_id"].(string)
	args, _ := m["args"].(map[string]any)
	if mb := logSize(args["command"]); mb > 0 {
		if err := w.log(id, mb); err != nil {
			return err
		}
	}
	update := []any{[]any{"rc", int64(0)}, []any{"elapsed", 0.001}}
	if m["command_name"] == "listdir" {
		update = append([]any{[]any{"files", []any{}}}, update...)
	}
	if err := w.request("update", id, update); err != nil {
		return err
	}
	return w.request("complete", id, nil)
}

func logSize(command any) (mb int) {
	s, _ := command.(string)
	if _, rest, ok := strings.Cut(s, "LOG "); ok {
		fmt.Sscan(rest, &mb)
	}
	return mb
}

// log sends lines of 80 bytes as a worker does: about 64 KiB an update, every line
// with its offset and time.
func (w *nullWorker) log(id string, mb int) error {
	const perUpdate = 800
	var text bytes.Buffer
	offsets, times := make([]any, perUpdate), make([]any, perUpdate)
	for n := 0; n < mb*1e6; n += text.Len() {
		text.Reset()
		now := float64(time.Now().UnixNano()) / 1e9
		for i := range perUpdate {
			fmt.Fprintf(&text, "[%7d] Building CXX object src/module_%04d/CMakeFiles/target.dir/f%06d.cc.o\n", n+i*80, i%97, (n/80+i*31)%1e6)
			offsets[i], times[i] = int64(text.Len()-1), now
		}
		if err := w.request("update", id, []any{[]any{"stdout", []any{text.String(), offsets, times}}}); err != nil {
			return err
		}
	}
	return nil
}
