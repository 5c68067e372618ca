package openstack

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"

	"buildstar/internal/tlstest"
	"buildstar/latent"
)

// account reads the account of arguments.
func accountOf(t *testing.T, args, dir string) (*account, error) {
	t.Helper()
	p := declare(t, `"w", None, "m1", image="i", `+args).Latent.Backend.(*Params)
	return p.account(t.Context(), latent.Env{Basedir: dir, Secret: func(_ context.Context, name string) (string, error) { return "secret-" + name, nil }})
}

// docs/requirements.md A12.9, B7: who logs in, and where.
func TestOpenStackAccount(t *testing.T) {
	project := func(name, domain string) *gophercloud.AuthScope {
		return &gophercloud.AuthScope{ProjectName: name, DomainID: domain}
	}
	for args, want := range map[string]gophercloud.AuthOptions{
		`os_username="u", os_password="p", os_tenant_name="t", os_auth_url="http://h:35357/v2.0"`: {
			IdentityEndpoint: "http://h:35357/v3", Username: "u", Password: "p", DomainID: "default", Scope: project("t", "default")},
		`os_username="u", os_password=util.Secret("p"), os_tenant_name=util.Secret("t"), os_auth_url="https://h/v3/", os_user_domain="ud", os_project_domain="pd"`: {
			IdentityEndpoint: "https://h/v3/", Username: "u", Password: "secret-p", DomainName: "ud", Scope: &gophercloud.AuthScope{ProjectName: "secret-t", DomainName: "pd"}},
		`os_auth_args={"auth_url": "http://h", "username": "u", "password": util.Secret("p"), "project_id": "1", "user_domain_id": "ud"}`: {
			IdentityEndpoint: "http://h", Username: "u", Password: "secret-p", DomainID: "ud", Scope: &gophercloud.AuthScope{ProjectID: "1"}},
		`os_auth_args={"auth_type": "v3applicationcredential", "auth_url": "http://h", "application_credential_id": "i", "application_credential_secret": util.Secret("s"), "project_name": "none of its business"}`: {
			IdentityEndpoint: "http://h", ApplicationCredentialID: "i", ApplicationCredentialSecret: "secret-s"},
		`os_auth_args={"auth_type": "v3applicationcredential", "auth_url": "http://h", "application_credential_name": "n", "application_credential_secret": "s", "username": "u"}`: {
			IdentityEndpoint: "http://h", ApplicationCredentialName: "n", ApplicationCredentialSecret: "s", Username: "u", DomainID: "default"},
		`os_auth_args={"auth_type": "token", "auth_url": "http://h", "token": "t", "project_name": "p", "project_domain_name": "d"}`: {
			IdentityEndpoint: "http://h", TokenID: "t", Scope: &gophercloud.AuthScope{ProjectName: "p", DomainName: "d"}},
		`os_auth_args={"auth_url": "http://h", "user_id": "i", "password": "p", "system_scope": "all"}`: {
			IdentityEndpoint: "http://h", UserID: "i", Password: "p", Scope: &gophercloud.AuthScope{System: true}},
		`os_auth_args={"auth_type": "v2password", "auth_url": "http://h/v2.0/", "username": "u", "password": "p", "tenant_name": "t"}`: {
			IdentityEndpoint: "http://h/v3", Username: "u", Password: "p", DomainID: "default", Scope: project("t", "default")},
		`os_auth_args={"auth_type": "v3totp", "auth_url": "http://h", "user_id": "u", "passcode": "123", "trust_id": "t"}`: {
			IdentityEndpoint: "http://h", UserID: "u", Passcode: "123", Scope: &gophercloud.AuthScope{TrustID: "t"}},
	} {
		want.AllowReauth = true
		a, err := accountOf(t, args, "")
		if err != nil || !reflect.DeepEqual(a.auth, want) {
			t.Errorf("%s\n%+v, %v", args, a.auth, err)
		}
	}
}

// clouds.yaml, and secure.yaml beside it.
func TestOpenStackCloudsFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"clouds.yaml": "clouds:\n  ours:\n    auth:\n      auth_url: http://h/v3\n      username: u\n      project_name: p\n    region_name: r\n    interface: internal\n" +
			"  app:\n    auth_type: v3applicationcredential\n    auth: {auth_url: 'http://h/v3', application_credential_id: i, application_credential_secret: s}\n    verify: false\n",
		"secure.yaml": "clouds:\n  ours:\n    auth:\n      password: secret\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := accountOf(t, `os_cloud="ours", os_client_config_file="clouds.yaml"`, dir)
	if err != nil || a.auth.Username != "u" || a.auth.Password != "secret" || a.auth.DomainID != "default" || !a.auth.AllowReauth ||
		!reflect.DeepEqual(a.auth.Scope, &gophercloud.AuthScope{ProjectName: "p", DomainID: "default"}) || a.at.Region != "r" || a.at.Availability != gophercloud.AvailabilityInternal {
		t.Errorf("%+v, %v", a, err)
	}
	b, err := accountOf(t, `os_cloud="ours", os_client_config_file="clouds.yaml", region="other", os_interface="admin"`, dir)
	if err != nil || b.at.Region != "other" || b.at.Availability != gophercloud.AvailabilityAdmin || a.digest == b.digest {
		t.Errorf("%+v, %v", b, err)
	}
	app, err := accountOf(t, `os_cloud="app", os_client_config_file="clouds.yaml"`, dir)
	if err != nil || app.auth.ApplicationCredentialSecret != "s" || app.auth.DomainID != "" || app.tls == nil || !app.tls.InsecureSkipVerify {
		t.Errorf("%+v, %v", app, err)
	}
	if _, err := accountOf(t, `os_cloud="theirs", os_client_config_file="clouds.yaml"`, dir); err == nil || !strings.Contains(err.Error(), `read cloud "theirs" of clouds.yaml: `) {
		t.Errorf("a cloud that there is not: %v", err)
	}
}

func TestOpenStackCACert(t *testing.T) {
	dir := t.TempDir()
	tlstest.Write(t, dir)
	a, err := accountOf(t, account1+`, os_cacert="cert.pem"`, dir)
	if err != nil || a.tls == nil || a.tls.RootCAs == nil {
		t.Errorf("%+v, %v", a, err)
	}
	for file, want := range map[string]string{"nothing.pem": "read os_cacert: open ", "key.pem": "read os_cacert: no certificate in key.pem"} {
		if _, err := accountOf(t, account1+`, os_cacert="`+file+`"`, dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// Workers of one account share a login, those of others do not.
func TestOpenStackAccountsDiffer(t *testing.T) {
	seen := map[[32]byte]string{}
	for _, args := range []string{
		account1, account1 + `, region="r"`, account1 + `, os_interface="internal"`, account1 + `, os_user_domain="d"`, account1 + `, os_project_domain="d"`,
		strings.Replace(account1, `"p"`, `"q"`, 1), strings.Replace(account1, `"t"`, `"s"`, 1), strings.Replace(account1, "5000", "5001", 1),
	} {
		a, err := accountOf(t, args, "")
		if err != nil {
			t.Fatal(err)
		}
		if was, ok := seen[a.digest]; ok {
			t.Errorf("%s is %s", args, was)
		}
		seen[a.digest] = args
		if again, err := accountOf(t, args, ""); err != nil || again.digest != a.digest {
			t.Errorf("%s is not itself, %v", args, err)
		}
	}
}

// What a service says of an error is found in any form.
func TestSaid(t *testing.T) {
	for in, want := range map[string]string{
		`{"badRequest": {"code": 400, "message": "no"}}`: "no", `{"message": "no"}`: "no", `{"NeutronError": {"type": "X", "message": "no", "detail": ""}}`: "no",
		`<html><h1>502</h1></html>`: "", `asleep`: "asleep", ``: "", `[1]`: "", `{"a": 1}`: "", `"text"`: "",
	} {
		if got := said([]byte(in)); got != want {
			t.Errorf("%s: %q", in, got)
		}
	}
}

func FuzzSaid(f *testing.F) {
	f.Add([]byte(`{"badRequest": {"code": 400, "message": "no"}}`))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, body []byte) { said(body) })
}

func FuzzUnseal(f *testing.F) {
	f.Add("a\x00secret:key\x00b", "key")
	f.Add("\x00secret:", "x")
	f.Fuzz(func(t *testing.T, text, name string) {
		got, err := unsealText(text, func(string) (string, error) { return "revealed", nil })
		if !strings.Contains(text, "\x00") && (err != nil || got != text) {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	})
}
