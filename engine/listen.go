package engine

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
)

// doors are the listeners for workers, by the address of the configuration. One
// that a reload does not change keeps listening.
type doors struct {
	m    *Master
	mu   sync.Mutex
	open map[string]*door
	wg   sync.WaitGroup
}

type door struct {
	key      string
	listener net.Listener
	server   *http.Server
}

func newDoors(m *Master) *doors { return &doors{m: m, open: map[string]*door{}} }

func doorKey(l config.Listen) string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// prepare opens the listeners that are not open yet.
func (ds *doors) prepare(listen []config.Listen) (opened []*door, err error) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for _, l := range listen {
		key := doorKey(l)
		if ds.open[key] != nil {
			continue
		}
		ln, err := net.Listen("tcp", key)
		if err != nil {
			discard(opened)
			return nil, prop.Problems{{Code: "listen", Pos: l.Pos, Text: fmt.Sprintf("listen for workers: %v", err)}}
		}
		opened = append(opened, &door{key: key, listener: &crowd{Listener: ln, most: maxConnections, log: ds.m.log}})
	}
	return opened, nil
}

// discard closes what was opened for nothing.
func discard(opened []*door) {
	for _, d := range opened {
		d.listener.Close()
	}
}

// commit serves the opened listeners and closes those that are no longer wanted.
func (ds *doors) commit(listen []config.Listen, opened []*door) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	wanted := map[string]bool{}
	for _, l := range listen {
		wanted[doorKey(l)] = true
	}
	for key, d := range ds.open {
		if !wanted[key] {
			d.server.Close()
			delete(ds.open, key)
		}
	}
	for _, d := range opened {
		d.server = &http.Server{
			Handler:           ds.m.server,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       10 * time.Second,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          log.New(quiet{ds.m.log}, "", 0),
		}
		ds.open[d.key] = d
		ds.wg.Go(func() {
			if err := d.server.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
				ds.m.log.Error("listening for workers ended", "address", d.key, "error", err)
			}
		})
		ds.m.log.Info("workers can connect", "address", d.listener.Addr().String())
	}
}

func (ds *doors) addrs() []net.Addr {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	var addrs []net.Addr
	for _, d := range ds.open {
		addrs = append(addrs, d.listener.Addr())
	}
	return addrs
}

func (ds *doors) close() {
	ds.commit(nil, nil)
	ds.wg.Wait()
}

// quiet sends what net/http has to say about bad clients to the debug log.
type quiet struct{ log *slog.Logger }

func (q quiet) Write(p []byte) (int, error) {
	q.log.Log(context.Background(), slog.LevelDebug, string(p), "from", "worker port")
	return len(p), nil
}
