package docker

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// registryAuth returns what the engine shows the registry of an image, "" for nothing: what
// `docker login` left in config.json, in $DOCKER_CONFIG or ~/.docker.
func registryAuth(image string) (string, error) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", nil // nobody's home: nobody has logged in
		}
		dir = filepath.Join(home, ".docker")
	}
	path := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the registry's password: %w", err)
	}
	var config struct {
		Auths map[string]struct {
			Auth          string `json:"auth"`
			IdentityToken string `json:"identitytoken"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return "", fmt.Errorf("read the registry's password: %s: %w", path, err)
	}
	registry := registryOf(image)
	for address, a := range config.Auths {
		host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://"), "/")
		if host != registry || a.Auth == "" && a.IdentityToken == "" {
			continue
		}
		pair, err := base64.StdEncoding.DecodeString(a.Auth)
		if err != nil {
			return "", fmt.Errorf("read the registry's password: %s: the auth of %s is not base64", path, address)
		}
		user, password, _ := strings.Cut(string(pair), ":")
		text, err := json.Marshal(map[string]string{
			"username": user, "password": strings.TrimRight(password, "\x00"), "identitytoken": a.IdentityToken, "serveraddress": address,
		})
		if err != nil {
			return "", err
		}
		return base64.URLEncoding.EncodeToString(text), nil
	}
	return "", nil
}

// registryOf returns the host of an image's registry.
func registryOf(image string) string {
	host, _, ok := strings.Cut(image, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" || host == "docker.io" {
		return "index.docker.io"
	}
	return host
}
