package git

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"buildstar/config/prop"
)

// Auth holds the arguments of everything that may need a key or a password to get at a
// repository (docs/requirements.md C4).
type Auth struct {
	// SSHPrivateKey is the key for ssh, the text of its file. It has no passphrase.
	SSHPrivateKey prop.Template[*string] `star:"sshPrivateKey,optional,secret"`
	// SSHHostKey is the only host key that is accepted, with its type in front:
	// "ssh-ed25519 AAAA...". It needs sshPrivateKey.
	SSHHostKey prop.Template[*string] `star:"sshHostKey,optional"`
	// SSHKnownHosts are the host keys that are accepted, as the lines of a known_hosts
	// file. It needs sshPrivateKey.
	SSHKnownHosts prop.Template[*string] `star:"sshKnownHosts,optional"`
	// AuthCredentials are the user name and password for repourl over http or https.
	AuthCredentials prop.Template[*Login] `star:"auth_credentials,optional"`
	// GitCredentials are passwords for several addresses, as of submodules.
	GitCredentials *CredentialOptions `star:"git_credentials,optional" hint:"git_credentials=util.GitCredentialOptions([...])"`
}

// Check reports through problem what the types of the arguments do not say.
func (a *Auth) Check(problem func(code, param, text, hint string)) {
	if !a.SSHPrivateKey.IsSet() {
		const hint = "give the key, or keep host keys in the known_hosts file of who runs git"
		if a.SSHHostKey.IsSet() {
			problem("bad-value", "sshHostKey", "it needs sshPrivateKey", hint)
		}
		if a.SSHKnownHosts.IsSet() {
			problem("bad-value", "sshKnownHosts", "it needs sshPrivateKey", hint)
		}
	}
	if a.SSHHostKey.IsSet() && a.SSHKnownHosts.IsSet() {
		problem("bad-value", "sshKnownHosts", "give sshHostKey or sshKnownHosts, not both", "")
	}
	for param, t := range map[string]prop.Template[*string]{
		"sshPrivateKey": a.SSHPrivateKey, "sshHostKey": a.SSHHostKey, "sshKnownHosts": a.SSHKnownHosts,
	} {
		if v, plain := t.Plain(); plain && v != nil && strings.TrimSpace(*v) == "" {
			problem("bad-value", param, "it is empty", "")
		}
	}
	if v, plain := a.SSHHostKey.Plain(); plain && v != nil && *v != "" {
		if err := checkHostKey(*v); err != nil {
			problem("bad-value", "sshHostKey", err.Error(), "sshKnownHosts takes lines of a known_hosts file")
		}
	}
}

// checkHostKey checks for a type and a key.
func checkHostKey(key string) error {
	key = strings.TrimSpace(key)
	if len(strings.Fields(key)) < 2 || strings.Contains(key, "\n") {
		return errors.New(`want one key with its type in front, as "ssh-ed25519 AAAA..."`)
	}
	return nil
}

// Render returns the way to the repository at repourl. Its URL lacks a password that
// repourl had. port is for ssh, 22 what git uses by itself.
func (a *Auth) Render(ctx context.Context, p prop.Props, repourl string, port int64) (*Access, error) {
	if err := CheckURL(repourl); err != nil {
		return nil, fmt.Errorf("render repourl: %w", err)
	}
	if port < 1 || port > 65535 {
		return nil, fmt.Errorf("render port: want 1 to 65535, got %d", port)
	}
	out := &Access{port: port}
	clean, inside, err := splitLogin(repourl)
	if err != nil {
		return nil, fmt.Errorf("render repourl: %w", err)
	}
	out.URL = clean
	if err := a.renderSSH(ctx, p, out); err != nil {
		return nil, err
	}
	given, err := a.AuthCredentials.Render(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("render auth_credentials: %w", err)
	}
	if given != nil {
		l, err := given.loginFor(clean)
		if err != nil {
			return nil, fmt.Errorf("render auth_credentials: %w", err)
		}
		out.logins = append(out.logins, l)
	}
	if inside != nil {
		out.logins = append(out.logins, *inside)
	}
	if a.GitCredentials != nil {
		if err := a.GitCredentials.render(ctx, p, out); err != nil {
			return nil, fmt.Errorf("render git_credentials: %w", err)
		}
	}
	return out, nil
}

func (a *Auth) renderSSH(ctx context.Context, p prop.Props, out *Access) error {
	for _, x := range []struct {
		name string
		from prop.Template[*string]
		to   *string
	}{
		{"sshPrivateKey", a.SSHPrivateKey, &out.privateKey}, {"sshHostKey", a.SSHHostKey, &out.hostKey},
		{"sshKnownHosts", a.SSHKnownHosts, &out.knownHosts},
	} {
		v, err := x.from.Render(ctx, p)
		if err != nil {
			return fmt.Errorf("render %s: %w", x.name, err)
		}
		if v == nil {
			continue
		}
		if strings.TrimSpace(*v) == "" {
			return fmt.Errorf("render %s: it is empty", x.name)
		}
		*x.to = strings.TrimSpace(*v) + "\n"
	}
	if out.hostKey != "" {
		if err := checkHostKey(out.hostKey); err != nil {
			return fmt.Errorf("render sshHostKey: %w", err)
		}
		out.knownHosts = "* " + out.hostKey
	}
	return nil
}

// Login is what auth_credentials renders to.
type Login struct{ Username, Password string }

// loginFor returns what git needs for the password at repourl.
func (l *Login) loginFor(repourl string) (login, error) {
	var out login
	if err := out.setURL(repourl); err != nil {
		return out, errPassword
	}
	out.username, out.password = l.Username, l.Password
	return out, out.check()
}

// TypeName is what messages call it.
func (*Login) TypeName() string { return "(user name, password)" }

// FromValue reads a user name and a password. Errors do not show them.
func (l *Login) FromValue(v any) error {
	pair, ok := v.([]any)
	if ok && len(pair) == 2 {
		name, ok1 := pair[0].(string)
		password, ok2 := pair[1].(string)
		if ok1 && ok2 && name != "" && password != "" {
			*l = Login{name, password}
			return nil
		}
	}
	return errors.New("want a user name and a password, two strings that are not empty")
}

// AppendCanonical appends the content; the encoding does not hold the password.
func (l *Login) AppendCanonical(dst []byte) []byte {
	if l == nil {
		return append(dst, 'N')
	}
	return prop.Password(l.Password).AppendCanonical(prop.AppendValue(dst, l.Username))
}
