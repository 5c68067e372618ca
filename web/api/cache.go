package api

import (
	"net/http"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"

	"buildstar/config"
)

// Bounds of the cache of rendered answers.
const (
	maxCached      = 1 << 10
	maxCachedBytes = 32 << 20
	maxCachedBody  = 4 << 20
)

// cache keeps rendered answers, compressed if they were sent so. An entry is true
// as long as the configuration and the versions of the resources it was made from
// are the same; it is not touched when they change, only found stale.
type cache struct {
	entries *lru.Cache[cacheKey, *cached]
	bytes   atomic.Int64
}

type cacheKey struct {
	uri  string
	form form
}

type cached struct {
	rendered
	stamp stamp
}

// stamp is the state an answer was made from.
type stamp struct {
	snap     *config.Snapshot
	versions [3]uint64
}

func newCache() *cache {
	c := &cache{}
	c.entries, _ = lru.NewWithEvict(maxCached, func(k cacheKey, e *cached) { c.bytes.Add(-size(k, e)) })
	return c
}

func size(k cacheKey, e *cached) int64 { return int64(len(k.uri) + len(e.body)) }

func (c *cache) get(k cacheKey, s stamp) (*cached, bool) {
	e, ok := c.entries.Get(k)
	return e, ok && e.stamp == s
}

func (c *cache) put(k cacheKey, e *cached) {
	if len(e.body) > maxCachedBody {
		return
	}
	c.entries.Remove(k)
	c.entries.Add(k, e)
	c.bytes.Add(size(k, e))
	for c.bytes.Load() > maxCachedBytes {
		if _, _, ok := c.entries.RemoveOldest(); !ok {
			return
		}
	}
}

// stamp returns the present state of the resources that an answer depends on. It
// must be taken before they are read: what is read later is at least that new.
func (a *API) stamp(depends []string) stamp {
	s := stamp{snap: a.control.Snapshot()}
	for i, resource := range depends {
		s.versions[i] = a.store.Version(resource)
	}
	return s
}

// cachedGet serves a GET from the cache, or with what produce returns, and keeps that.
// depends are at most three resources.
func (a *API) cachedGet(depends []string, produce func(r *http.Request) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f := formOf(r)
		key := cacheKey{r.RequestURI, f}
		now := a.stamp(depends)
		if e, ok := a.cache.get(key, now); ok {
			e.write(w, f)
			return
		}
		out, err := produce(r)
		switch {
		case err != nil:
			a.fail(w, r, err)
		case out.stream != nil:
			setHeaders(w, f)
			a.writeStream(w, r, f.gzip, out.stream)
		default:
			e := &cached{render(out.body, f), now}
			a.cache.put(key, e)
			e.write(w, f)
		}
	}
}
