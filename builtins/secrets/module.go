// Package secrets is the vocabulary of where secrets are kept: secrets.SecretInAFile.
package secrets

import "buildstar/starlark/spec"

// Module is the namespace secrets of master.star.
var Module = &spec.Module{
	Name:    "secrets",
	Classes: []*spec.Class{SecretInAFile},
	Unsupported: map[string]string{
		"SecretInPass":                   "it asks the program pass; until then write what pass prints to files for secrets.SecretInAFile",
		"HashiCorpVaultKvSecretProvider": vault,
		"HashiCorpVaultSecretProvider":   vault,
		"VaultAuthenticatorToken":        vault,
		"VaultAuthenticatorApprole":      vault,
	},
}

const vault = "it asks a server of HashiCorp Vault; until then let an agent of Vault write files for secrets.SecretInAFile"
