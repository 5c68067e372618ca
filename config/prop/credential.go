package prop

// A Credential is a password that the configuration holds, or the name of the secret
// that is it. An argument of this type takes a string or util.Secret.
type Credential struct {
	Password Password
	Secret   string // "": Password is it
}

// IsSet reports whether there is one.
func (c Credential) IsSet() bool { return c != Credential{} }
