package worker

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// proxyDialer opens connections through an HTTP proxy, by CONNECT, whether TLS follows
// or not: proxies that look into plain HTTP do not know WebSockets.
type proxyDialer struct {
	direct *net.Dialer
	// proxy returns the proxy for an address, nil for none.
	proxy func(address string) (*url.URL, error)
}

// chooseProxy returns the proxy that was given, or those of the environment: HTTPS_PROXY
// for wss:// and HTTP_PROXY for ws://, but for NO_PROXY and loopback.
func chooseProxy(given string, master *url.URL) (func(address string) (*url.URL, error), error) {
	if given == "" {
		scheme := map[string]string{"ws": "http", "wss": "https"}[master.Scheme]
		return func(address string) (*url.URL, error) {
			u, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: scheme, Host: address}})
			if u == nil || err != nil {
				return nil, err
			}
			return u, checkProxy(u)
		}, nil
	}
	u, err := url.Parse(given)
	if err != nil {
		return nil, errors.New("address of the proxy: want http://HOST:PORT") // err would show a password
	}
	if err := checkProxy(u); err != nil {
		return nil, err
	}
	return func(string) (*url.URL, error) { return u, nil }, nil
}

func checkProxy(u *url.URL) error {
	if u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("address of the proxy: want http://HOST:PORT, got %s", u.Redacted())
	}
	return nil
}

func (d *proxyDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	proxy, err := d.proxy(address)
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return d.direct.DialContext(ctx, network, address)
	}
	host := proxy.Host
	if proxy.Port() == "" {
		host = net.JoinHostPort(proxy.Hostname(), "80")
	}
	c, err := d.direct.DialContext(ctx, network, host)
	if err == nil {
		if err = tunnel(ctx, c, proxy.User, address); err == nil {
			return c, nil
		}
		c.Close()
	}
	return nil, fmt.Errorf("proxy %s: %w", proxy.Host, err)
}

// tunnel asks the proxy at the other end of c for a connection to address.
func tunnel(ctx context.Context, c net.Conn, user *url.Userinfo, address string) error {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if user != nil {
		password, _ := user.Password()
		credentials := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	if err := req.Write(c); err != nil {
		return err
	}
	// Nothing after the answer is lost with the buffer: the master waits for us to speak.
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("it answered %s", resp.Status)
	}
	return nil
}
