package ec2

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"buildstar/config/prop"
)

const (
	defaultRegion = "us-east-1"
	// attempts is how often the SDK tries a call that was throttled or met an error of the
	// server, 15 seconds in all about, if its own configuration does not say.
	attempts = 6
	// callTimeout bounds one try of a call: one whose answer does not come is tried again.
	callTimeout = time.Minute
	// keyLife is how long keys from a secret or a file are used before they are read again.
	keyLife = 5 * time.Minute
)

// client returns the client. It is made by the first call: checkconfig and the start of the
// master need none.
func (b *backend) client(ctx context.Context) (*client, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.api != nil {
		return b.api, nil
	}
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(callTimeout))}
	if b.params.Region != "" {
		options = append(options, config.WithRegion(b.params.Region))
	}
	if b.params.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(b.params.Profile))
	}
	keys, err := b.keys()
	if err != nil {
		return nil, err
	}
	if keys != nil {
		options = append(options, config.WithCredentialsProvider(keys))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("load the AWS configuration: %w", err)
	}
	if c.Region == "" {
		c.Region = defaultRegion
	}
	if c.RetryMaxAttempts == 0 {
		c.RetryMaxAttempts = attempts
	}
	if t := b.params.test.transport; t != nil {
		c.HTTPClient = &http.Client{Transport: t, Timeout: callTimeout}
	}
	b.region = c.Region
	b.api = newClient(ec2.NewFromConfig(c, func(o *ec2.Options) {
		if b.params.EndpointURL != "" {
			o.BaseEndpoint = &b.params.EndpointURL
		}
	}))
	return b.api, nil
}

// keys returns where the keys of the account come from; nil is wherever the SDK finds them.
func (b *backend) keys() (aws.CredentialsProvider, error) {
	p := b.params
	if p.Identifier != nil && p.SecretIdentifier != nil {
		return provide("identifier", func(ctx context.Context) (id, secret string, err error) {
			if id, err = b.reveal(ctx, p.Identifier); err == nil {
				secret, err = b.reveal(ctx, p.SecretIdentifier)
			}
			return id, secret, err
		}), nil
	}
	if p.IDFile != "" {
		path, err := b.path(p.IDFile)
		return provide(path, func(context.Context) (string, string, error) { return readKeys(path) }), err
	}
	if p.Profile != "" {
		return nil, nil
	}
	path, err := b.path("~/.ec2/aws_id")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil { // a user without a home, or a home without it (A10.10)
		return nil, nil
	}
	return provide(path, func(context.Context) (string, string, error) { return readKeys(path) }), nil
}

// provide makes a provider of keys, which are read again now and then: a secret can change.
func provide(source string, read func(context.Context) (id, secret string, err error)) aws.CredentialsProvider {
	return aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		id, secret, err := read(ctx)
		return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, Source: source, CanExpire: true, Expires: time.Now().Add(keyLife)}, err
	}))
}

func (b *backend) reveal(ctx context.Context, c *prop.Credential) (string, error) {
	if c.Secret == "" {
		return c.Password.Reveal(), nil
	}
	text, err := b.env.Secret(ctx, c.Secret)
	return strings.TrimSpace(text), err
}

func (b *backend) path(name string) (string, error) {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		home, err := os.UserHomeDir()
		return filepath.Join(home, rest), err
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	return filepath.Join(b.env.Basedir, name), nil
}

// readKeys reads a file of an access key id and a secret one, a line each (A10.10).
func readKeys(path string) (id, secret string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", fmt.Errorf("read the keys of the account: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for _, to := range []*string{&id, &secret} {
		if lines.Scan() {
			*to = strings.TrimSpace(lines.Text())
		}
	}
	if err := lines.Err(); err != nil || secret == "" {
		return "", "", fmt.Errorf("read the keys of the account: %s: want the access key id in line 1 and the secret access key in line 2", path)
	}
	return id, secret, nil
}

// A callError is an error of a call, in the words of the API.
type callError struct {
	what string
	err  error
}

// failed returns an error of a call; nil stays nil.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return &callError{what, err}
}

func (e *callError) Error() string {
	var api smithy.APIError
	if errors.As(e.err, &api) {
		return e.what + ": " + api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return e.what + ": " + e.err.Error()
}

func (e *callError) Unwrap() error { return e.err }

// code is that of an error of the API; "" if it is none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// definite reports whether the API refused a call: nothing came of it.
func definite(err error) bool {
	var response *awshttp.ResponseError
	return code(err) != "" && errors.As(err, &response) && response.HTTPStatusCode() < http.StatusInternalServerError
}

// saveKey writes the private key of a key pair that was made: nobody has it otherwise. Each
// region has its own.
func (b *backend) saveKey(name, text string) (path string, err error) {
	path = filepath.Join(b.env.Basedir, "ec2-"+b.region+"-"+strings.ReplaceAll(name, string(filepath.Separator), "_")+".pem")
	return path, os.WriteFile(path, []byte(text), 0o600)
}
