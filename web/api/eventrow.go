package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"buildstar/state"
)

// appendRow appends the row of an event as REST shows it.
func (a *API) appendRow(ctx context.Context, dst []byte, row any) []byte {
	switch r := row.(type) {
	case nil:
		return append(dst, "null"...)
	case state.Worker:
		if w, ok := a.worldOfEvents(ctx); ok {
			return workers.append(dst, &r, w)
		}
	case state.Scheduler:
		if w, ok := a.worldOfEvents(ctx); ok {
			return schedulers.append(dst, &r, w)
		}
	case state.ChangeSource:
		if w, ok := a.worldOfEvents(ctx); ok {
			return changeSources.append(dst, &r, w)
		}
	case interface{ AppendJSON([]byte) []byte }:
		return r.AppendJSON(dst)
	}
	b, err := json.Marshal(row)
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, b...)
}

// worldOfEvents is the world without properties: those have events of their own.
func (a *API) worldOfEvents(ctx context.Context) (*world, bool) {
	t, err := a.topology(ctx)
	if err != nil {
		if t = a.topo.Load(); t == nil {
			return nil, false
		}
	}
	return a.world(t, query{}), true
}

// derivedKeys returns the keys of an event that only the configuration knows:
// workers go by their builders too, and builders by their workers.
func (a *API) derivedKeys(ctx context.Context, ev state.Event) (keys []string) {
	verb := ev.Key[strings.LastIndexByte(ev.Key, '/')+1:]
	switch r := ev.Row.(type) {
	case state.Worker:
		w, ok := a.worldOfEvents(ctx)
		if !ok {
			return nil
		}
		for _, b := range w.byWorker[r.Name] {
			keys = append(keys, fmt.Sprintf("builders/%d/workers/%d/%s", b, r.ID, verb))
		}
	case state.Builder:
		w, ok := a.worldOfEvents(ctx)
		if !ok {
			return nil
		}
		conf := w.snap.Builder(r.Name)
		if conf == nil {
			return nil
		}
		for _, name := range conf.Workers {
			if id, ok := w.workers[name]; ok {
				keys = append(keys, fmt.Sprintf("workers/%d/builders/%d/%s", id, r.ID, verb))
			}
		}
	}
	return keys
}
