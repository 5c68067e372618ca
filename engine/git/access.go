// Package git is what the master knows of git: versions, names, and how to get at a
// repository with a key or a password that nobody may see. Change sources use it on the
// master and steps on workers. Its functions are pure; who runs git writes the files.
package git

import (
	"fmt"
	"strings"
)

// Access is the way to one repository. It is made by [Auth.Render] and does not change.
type Access struct {
	URL string // without a password

	port                            int64
	privateKey, hostKey, knownHosts string
	logins                          []login
	useHTTPPath                     *bool
}

// A File is to be written before git runs, with mode 0600, and to be removed after it
// ran, however it ended.
type File struct{ Name, Content string }

// The names of files in the private directory.
const (
	keyFile   = "ssh-key"
	hostsFile = "ssh-known-hosts"
	loginFile = "git-credentials"
)

// Files returns the files that the key and the passwords need, if any.
func (a *Access) Files() []File {
	var files []File
	if a.privateKey != "" {
		files = append(files, File{keyFile, a.privateKey})
	}
	if a.knownHosts != "" {
		files = append(files, File{hostsFile, a.knownHosts})
	}
	if len(a.logins) > 0 {
		var b strings.Builder
		for _, l := range a.logins {
			b.WriteString(l.line())
		}
		files = append(files, File{loginFile, b.String()})
	}
	return files
}

// Check refuses a git that is too old for this access.
func (a *Access) Check(v Version) error {
	switch {
	case len(a.logins) > 0 && !v.helperReset():
		return fmt.Errorf("git %v is too old for passwords: install 2.9 or newer", v)
	case a.usesSSH() && !v.sshCommand():
		return fmt.Errorf("git %v is too old for sshPrivateKey and port: install 2.3 or newer", v)
	}
	return v.Check()
}

// Options returns what comes before the subcommand: git OPTIONS... fetch. dir is where
// [Access.Files] are, absolute.
func (a *Access) Options(dir string) []string {
	if len(a.logins) == 0 {
		return nil
	}
	options := []string{
		"-c", "credential.helper=",
		"-c", "credential.helper=store --file=" + shellQuote(join(dir, loginFile)),
	}
	if a.useHTTPPath != nil {
		options = append(options, "-c", fmt.Sprintf("credential.useHttpPath=%t", *a.useHTTPPath))
	}
	return options
}

// Env returns the environment that git needs beside its own. dir is as for
// [Access.Options]. git asks nobody for a password: nobody would answer.
func (a *Access) Env(dir string) (map[string]string, error) {
	env := map[string]string{"GIT_TERMINAL_PROMPT": "0"}
	if !a.usesSSH() {
		return env, nil
	}
	if strings.ContainsAny(dir, "\"\n") || strings.Contains(dir, "${") {
		return nil, fmt.Errorf("keep the ssh key in %q: ssh cannot read a path with these characters", dir)
	}
	words := []string{"ssh", "-o", "BatchMode=yes"}
	if a.port != 22 {
		words = append(words, "-p", fmt.Sprint(a.port))
	}
	if a.privateKey != "" {
		words = append(words, "-o", "IdentitiesOnly=yes", "-o", "IdentityFile="+optionQuote(join(dir, keyFile)))
	}
	if a.knownHosts != "" {
		hosts := optionQuote(join(dir, hostsFile)) // instead of those of the user and of the machine
		words = append(words, "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile="+hosts, "-o", "GlobalKnownHostsFile="+hosts)
	}
	for i, w := range words {
		words[i] = shellQuote(w)
	}
	env["GIT_SSH_COMMAND"] = strings.Join(words, " ")
	return env, nil
}

// usesSSH reports whether ssh needs options. Without any, the environment of who runs
// git decides.
func (a *Access) usesSSH() bool { return a.privateKey != "" || a.port != 22 }

// join joins a directory and a name with the separator that git, its shell and ssh all
// understand, on Windows too.
func join(dir, name string) string {
	if len(dir) > 2 && dir[1] == ':' {
		dir = strings.ReplaceAll(dir, `\`, "/")
	}
	return strings.TrimSuffix(dir, "/") + "/" + name
}

// shellQuote makes one word for a POSIX shell.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// optionQuote makes a path one value of ssh -o, which expands % in it.
func optionQuote(path string) string {
	path = strings.ReplaceAll(path, "%", "%%")
	if strings.ContainsAny(path, " \t'#") {
		return `"` + path + `"`
	}
	return path
}
