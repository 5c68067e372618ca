package openstack

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"

	"buildstar/latent"
)

// An account is who logs in, and where: what a cloud is opened with.
type account struct {
	auth gophercloud.AuthOptions
	at   gophercloud.EndpointOpts
	tls  *tls.Config // nil: as the system does

	digest [sha256.Size]byte // differs for accounts that differ
}

// checkAccount reports what is missing of the arguments that say who logs in.
func (p *Params) checkAccount(problem func(param, text, hint string)) {
	if p.OsCloud != "" || len(p.OsAuthArgs.Args) > 0 {
		return
	}
	const hint = "give it, or os_auth_args, or os_cloud"
	if !p.OsAuthURL.IsSet() {
		problem("os_auth_url", "there is no address of Keystone", hint)
	}
	if !p.OsUsername.IsSet() {
		problem("os_username", "there is no user", hint)
	}
	if !p.OsPassword.IsSet() {
		problem("os_password", "there is no password", hint)
	}
}

// account reads who logs in: the files and the secrets as they are now.
func (p *Params) account(ctx context.Context, e latent.Env) (*account, error) {
	a := &account{}
	var err error
	switch {
	case p.OsCloud != "":
		err = a.fromFile(p, e)
	case len(p.OsAuthArgs.Args) > 0:
		err = a.fromArgs(ctx, p.OsAuthArgs.Args, e.Secret)
	default:
		err = a.fromArgs(ctx, p.plainArgs(), e.Secret)
	}
	if err != nil {
		return nil, err
	}
	a.complete()
	if r := orZero(p.Region); r != "" {
		a.at.Region = r
	}
	if p.OsInterface != "" {
		a.at.Availability = gophercloud.Availability(p.OsInterface)
	}
	pem, err := a.trust(p.OsCACert, e.Basedir)
	if err != nil {
		return nil, err
	}
	scope := gophercloud.AuthScope{}
	if a.auth.Scope != nil {
		scope = *a.auth.Scope
	}
	plain := a.auth
	plain.Scope = nil
	verify := a.tls == nil || !a.tls.InsecureSkipVerify
	a.digest = sha256.Sum256(fmt.Appendf(nil, "%q %q %q %v %q", fmt.Sprintf("%+v", plain), fmt.Sprintf("%+v", scope), fmt.Sprintf("%+v", a.at), verify, pem))
	return a, nil
}

// plainArgs are the os_ arguments by the names of keystoneauth.
func (p *Params) plainArgs() map[string]Text {
	return map[string]Text{
		"auth_url": p.OsAuthURL, "username": p.OsUsername, "password": p.OsPassword, "project_name": p.OsTenantName,
		"user_domain_name": p.OsUserDomain, "project_domain_name": p.OsProjectDomain,
	}
}

// fromFile reads clouds.yaml.
func (a *account) fromFile(p *Params, e latent.Env) (err error) {
	options := []clouds.ParseOption{clouds.WithCloudName(p.OsCloud)}
	if p.OsClientConfigFile != "" {
		options = append(options, clouds.WithLocations(below(e.Basedir, p.OsClientConfigFile)))
	}
	if a.auth, a.at, a.tls, err = clouds.Parse(options...); err != nil {
		return fmt.Errorf("read cloud %q of clouds.yaml: %w", p.OsCloud, err)
	}
	return nil
}

func below(basedir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(basedir, path)
}

// fromArgs reads arguments of keystoneauth.
func (a *account) fromArgs(ctx context.Context, args map[string]Text, secret secrets) error {
	got := map[string]string{}
	for name, t := range args {
		v, err := t.reveal(ctx, secret)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		got[name] = v
	}
	first := func(names ...string) string {
		for _, n := range names {
			if got[n] != "" {
				return got[n]
			}
		}
		return ""
	}
	if t := got["auth_type"]; t != "" {
		if err := checkAuthType(t); err != nil {
			return err
		}
	}
	o := &a.auth
	o.IdentityEndpoint, o.Username, o.UserID, o.Password = got["auth_url"], got["username"], got["user_id"], got["password"]
	o.Passcode, o.TokenID = got["passcode"], got["token"]
	o.ApplicationCredentialID, o.ApplicationCredentialName = got["application_credential_id"], got["application_credential_name"]
	o.ApplicationCredentialSecret = got["application_credential_secret"]
	if o.UserID == "" {
		o.DomainID = first("user_domain_id", "default_domain_id")
		if o.DomainID == "" {
			o.DomainName = first("user_domain_name", "default_domain_name")
		}
	}
	project, id := first("project_name", "tenant_name"), first("project_id", "tenant_id")
	s := &gophercloud.AuthScope{}
	switch {
	case got["trust_id"] != "":
		s.TrustID = got["trust_id"]
	case got["system_scope"] != "":
		s.System = true
	case id != "":
		s.ProjectID = id
	case project != "":
		s.ProjectName, s.DomainID = project, first("project_domain_id", "default_domain_id")
		if s.DomainID == "" {
			s.DomainName = first("project_domain_name", "default_domain_name")
		}
	case got["domain_id"] != "":
		s.DomainID = got["domain_id"]
	case got["domain_name"] != "":
		s.DomainName = got["domain_name"]
	}
	if *s != (gophercloud.AuthScope{}) && o.ApplicationCredentialSecret == "" { // which has its scope with it
		o.Scope = s
	}
	return nil
}

// defaultDomain is the id that Keystone gave what it had before there were domains: where
// the user and the project of somebody are who names no domain.
const defaultDomain = "default"

// complete fills in what nobody has to say.
func (a *account) complete() {
	o := &a.auth
	o.AllowReauth = true
	o.TenantID, o.TenantName = "", "" // the scope has it
	if base, ok := strings.CutSuffix(strings.TrimRight(o.IdentityEndpoint, "/"), "/v2.0"); ok {
		o.IdentityEndpoint = base + "/v3"
	}
	byName := o.Username != "" && o.UserID == "" || o.ApplicationCredentialName != ""
	if byName && o.DomainID == "" && o.DomainName == "" && o.UserID == "" {
		o.DomainID = defaultDomain
	}
	if s := o.Scope; s != nil && s.ProjectName != "" && s.DomainID == "" && s.DomainName == "" {
		s.DomainID = defaultDomain
	}
}

// trust reads the authorities of os_cacert, and returns them.
func (a *account) trust(path, basedir string) (pem []byte, err error) {
	if path == "" {
		return nil, nil
	}
	if pem, err = os.ReadFile(below(basedir, path)); err != nil {
		return nil, fmt.Errorf("read os_cacert: %w", err)
	}
	if a.tls == nil {
		a.tls = &tls.Config{}
	}
	a.tls.RootCAs = x509.NewCertPool()
	if !a.tls.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("read os_cacert: no certificate in " + path)
	}
	return pem, nil
}
