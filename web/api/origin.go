package api

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// checkOrigin refuses what a page of another site sent: Origin, if present, must
// name the host the request was sent to. The scheme does not count: a proxy in
// front may speak TLS.
func checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !sameHost(u, r.Host) {
		return fmt.Errorf("%w: Origin %s is not this master (%s)", errForbidden, clip(origin), clip(r.Host))
	}
	return nil
}

func sameHost(origin *url.URL, host string) bool {
	port := map[string]string{"http": "80", "https": "443"}[origin.Scheme]
	oh, op := splitPort(origin.Host, port)
	hh, hp := splitPort(host, port)
	return strings.EqualFold(oh, hh) && op == hp
}

func splitPort(hostport, def string) (host, port string) {
	if h, p, err := net.SplitHostPort(hostport); err == nil {
		return h, p
	}
	return strings.Trim(hostport, "[]"), def
}

// CheckSite is checkOrigin and, for browsers that say so, that the request comes
// from a page of this master.
func CheckSite(r *http.Request) error {
	if err := checkOrigin(r); err != nil {
		return err
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return fmt.Errorf("%w: sent by a page of another site (Sec-Fetch-Site: %s)", errForbidden, clip(site))
	}
	return nil
}
