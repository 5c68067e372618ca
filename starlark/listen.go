package starlark

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"buildstar/config"
	"buildstar/config/prop"
)

// listen is a port as users give it: a number or digits (all interfaces), or
// tcp:PORT:interface=ADDR (docs/requirements.md C1).
type listen struct{ config.Listen }

// listenTLS is a listen that may be ssl:PORT:privateKey=FILE:certKey=FILE too.
type listenTLS struct{ listen }

// TypeName is what messages call it.
func (*listenTLS) TypeName() string {
	return `port number, "tcp:PORT:interface=ADDR" or "ssl:PORT:privateKey=FILE:certKey=FILE:interface=ADDR"`
}

// FromValue reads it.
func (l *listenTLS) FromValue(v any) error {
	s, ok := v.(string)
	words := splitColons(s)
	switch {
	case !ok && v != nil:
		if _, ok := v.(int64); !ok {
			return fmt.Errorf("want %s, got %s", l.TypeName(), prop.Describe(v))
		}
	case words[0] == "ssl" || words[0] == "tls":
		return l.secure(words)
	}
	return l.listen.FromValue(v)
}

// secure reads Twisted's form of a TLS server. There a file can hold key and
// certificate both, and is server.pem by default.
func (l *listenTLS) secure(words []string) error {
	options, err := l.options(words, l.TypeName(), "interface", "privateKey", "certKey")
	if err != nil {
		return err
	}
	key := cmp.Or(options["privateKey"], "server.pem")
	l.TLS = &config.TLS{Key: key, Cert: cmp.Or(options["certKey"], key)}
	return nil
}

// TypeName is what messages call it.
func (*listen) TypeName() string { return `port number or "tcp:PORT:interface=ADDR"` }

// FromValue reads it.
func (l *listen) FromValue(v any) error {
	switch v := v.(type) {
	case int64:
		return l.port(strconv.FormatInt(v, 10))
	case string:
		return l.endpoint(v)
	}
	return fmt.Errorf("want %s, got %s", l.TypeName(), prop.Describe(v))
}

func (l *listen) port(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is no port: want 0 to 65535", s)
	}
	l.Port = int(n)
	return nil
}

// endpoint reads Twisted's form of a TCP server: words between colons, which a
// backslash may quote.
func (l *listen) endpoint(s string) error {
	words := splitColons(s)
	if len(words) == 1 {
		return l.port(words[0])
	}
	switch words[0] {
	case "tcp":
	case "ssl", "tls":
		return errors.New("TLS is not supported yet: listen on the loopback interface and put a proxy in front")
	default:
		return fmt.Errorf("%q is not supported: want %s", words[0], l.TypeName())
	}
	_, err := l.options(words, "tcp:PORT:interface=ADDR", "interface")
	return err
}

// options reads PORT and key=value words after the first, and applies port and
// interface. Others than those known are refused.
func (l *listen) options(words []string, form string, known ...string) (map[string]string, error) {
	options := map[string]string{}
	for i, w := range words[1:] {
		key, value, named := strings.Cut(w, "=")
		switch {
		case i == 0 && !named:
			key, value = "port", w
		case !named:
			return nil, fmt.Errorf("%q has no meaning here: want %s", w, form)
		}
		if key != "port" && !slices.Contains(known, key) {
			return nil, fmt.Errorf("%q is not supported: want %s", key, form)
		}
		options[key] = value
	}
	port, ok := options["port"]
	if !ok {
		return nil, fmt.Errorf("%q names no port", strings.Join(words, ":"))
	}
	l.Host = options["interface"]
	return options, l.port(port)
}

func splitColons(s string) []string {
	words := []string{""}
	for i := 0; i < len(s); i++ {
		last := len(words) - 1
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			words[last] += s[i : i+1]
		case s[i] == ':':
			words = append(words, "")
		default:
			words[last] += s[i : i+1]
		}
	}
	return words
}
