package git

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"buildstar/config/prop"
)

// CredentialOptions is util.GitCredentialOptions (docs/requirements.md C4).
type CredentialOptions struct {
	Where prop.Pos `star:"-"`
	// Credentials are texts of lines NAME=VALUE, as `git credential` reads them, with the
	// names url, protocol, host, path, username and password.
	// util.GitCredentialInputRenderer makes such a text.
	Credentials []prop.Template[string] `star:"credentials"`
	// UseHTTPPath makes git tell repositories of one host apart by their path; None
	// leaves that to git's own configuration.
	UseHTTPPath *bool `star:"use_http_path,optional"`
}

// AppendCanonical appends the content.
func (o *CredentialOptions) AppendCanonical(dst []byte) []byte {
	for _, c := range o.Credentials {
		dst = c.AppendCanonical(append(dst, '+'))
	}
	if o.UseHTTPPath == nil {
		return append(dst, 'N')
	}
	return prop.AppendValue(dst, *o.UseHTTPPath)
}

func (o *CredentialOptions) render(ctx context.Context, p prop.Props, out *Access) error {
	for i, t := range o.Credentials {
		text, err := t.Render(ctx, p)
		if err != nil {
			return fmt.Errorf("item %d: %w", i+1, err)
		}
		l, err := newLogin(text)
		if err != nil {
			return fmt.Errorf("item %d: %w", i+1, err)
		}
		out.logins = append(out.logins, l)
	}
	out.useHTTPPath = o.UseHTTPPath
	return nil
}

// login is a password and what it is for.
type login struct{ protocol, host, path, username, password string }

// newLogin reads what `git credential` reads. Errors do not show values.
func newLogin(text string) (login, error) {
	var l login
	for n, line := range strings.Split(strings.TrimSpace(text), "\n") {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r"), "=")
		if !ok {
			return l, fmt.Errorf("line %d is not of the form NAME=VALUE", n+1)
		}
		field := map[string]*string{
			"protocol": &l.protocol, "host": &l.host, "path": &l.path, "username": &l.username, "password": &l.password,
		}[name]
		switch {
		case name == "url":
			if err := l.setURL(value); err != nil {
				return l, err
			}
		case field == nil:
			return l, fmt.Errorf("line %d: want url, protocol, host, path, username or password, got %.40q", n+1, name)
		default:
			*field = value
		}
	}
	return l, l.check()
}

// setURL replaces all of l, as git does.
func (l *login) setURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" {
		return errors.New("url is no valid address with a password") // the error of Parse shows it
	}
	password, _ := u.User.Password()
	*l = login{u.Scheme, u.Host, strings.TrimPrefix(u.Path, "/"), u.User.Username(), password}
	return nil
}

var errPassword = errors.New("a password is for http or https only: ssh takes sshPrivateKey")

func (l login) check() error {
	switch {
	case l.protocol != "http" && l.protocol != "https":
		return errPassword
	case l.host == "":
		return errors.New("the host is missing")
	case l.username == "" && l.password == "":
		return errors.New("username and password are missing")
	case hasControl(l.protocol + l.host + l.path + l.username + l.password):
		return errors.New("it has a control character in it, such as a newline at its end")
	}
	return nil
}

// line is l in the file of git-credential-store(1).
func (l login) line() string {
	u := url.URL{Scheme: l.protocol, Host: l.host, Path: "/" + l.path, User: url.UserPassword(l.username, l.password)}
	return u.String() + "\n"
}
