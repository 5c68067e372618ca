package starlark

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"buildstar/config"
	"buildstar/config/prop"
)

// listen is a port as users give it: a number or digits (all interfaces), or
// tcp:PORT:interface=ADDR (docs/requirements.md C1).
type listen struct{ config.Listen }

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
	havePort := false
	for i, w := range words[1:] {
		key, value, named := strings.Cut(w, "=")
		switch {
		case i == 0 && !named:
			key, value = "port", w
		case !named:
			return fmt.Errorf("%q has no meaning here: want interface=ADDR", w)
		}
		switch key {
		case "port":
			if err := l.port(value); err != nil {
				return err
			}
			havePort = true
		case "interface":
			l.Host = value
		default:
			return fmt.Errorf("%q is not supported: want tcp:PORT:interface=ADDR", key)
		}
	}
	if !havePort {
		return fmt.Errorf("%q names no port", s)
	}
	return nil
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
