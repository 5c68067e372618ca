package worker

import (
	"maps"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/starlark/spec"
)

// Latent is what every latent worker has (docs/requirements.md A8, B3): the parameters of
// a backend's class embed it, with the tag star:",kw", after the name and the password.
type Latent struct {
	common
	// BuildWaitTimeout is how long an instance without builds is kept; the default is 10
	// minutes. 0 stops it at once, and a negative time only when the master stops (A8.2 to
	// A8.4).
	BuildWaitTimeout time.Duration `star:"build_wait_timeout,optional"`
	// CheckInstanceInterval is the time between two looks at an instance that has not
	// connected yet, so that one that crashed is noticed before missing_timeout; the default
	// is 10 seconds (A8.5).
	CheckInstanceInterval time.Duration `star:"check_instance_interval,optional" min:"0.1"`
	// MissingTimeout is how long an instance may take to connect; the default is 20
	// minutes. Then it is stopped, and the build waits for another worker (A8.6).
	MissingTimeout time.Duration `star:"missing_timeout,optional" min:"0.1"`
	// NotifyOnMissing is the mail address, or a list of them, of who hears of it when an
	// instance does not connect, or does not come back after its connection was lost: one
	// mail, until one did connect. They also hear of an instance that cannot be stopped (A4,
	// A8.7).
	NotifyOnMissing addresses `star:"notify_on_missing,optional"`
	// MasterFQDN is the host that instances dial, or HOST:PORT if they dial another port than
	// the one for workers in c['protocols']: [fd00::1]:9989 for an IPv6 address. The default
	// is 127.0.0.1 if that port listens on loopback only; else the name of this host if it
	// resolves to one of its addresses, else its first address.
	MasterFQDN string `star:"masterFQDN,optional"`
	// Caps are limits that this worker shares with others: a list of util.InstanceCap.
	Caps []*config.InstanceCap `star:"caps,optional"`
}

// LatentDefaults returns a Latent with its defaults.
func LatentDefaults() Latent {
	return Latent{common: defaults(), BuildWaitTimeout: 10 * time.Minute, CheckInstanceInterval: 10 * time.Second, MissingTimeout: 20 * time.Minute}
}

// LatentUnsupported are the arguments of latent workers in Buildbot that have no effect
// yet; a class adds its own.
func LatentUnsupported() map[string]string { return map[string]string{} }

// Renamed are the old names of arguments that every worker has.
func Renamed() map[string]string { return maps.Clone(renamed) }

// LatentNode makes the node of a latent worker. A nil password is a random one for each
// instance. varies is whether an instance may not serve every build.
func (l *Latent) LatentNode(c *spec.Call, class, name string, password *prop.Credential, backend config.Backend, varies bool) *config.Worker {
	checkName(c, name)
	if l.MasterFQDN != "" {
		if _, _, err := latent.SplitMaster(l.MasterFQDN); err != nil {
			c.Problem("bad-value", "masterFQDN", err.Error(), "")
		}
	}
	n := l.node(c, class, name)
	l.NotifyOnMissing.check(c)
	n.NotifyOnMissing = l.NotifyOnMissing
	if password != nil {
		if !password.IsSet() {
			c.Problem("bad-value", "password", "the password is empty", "write None for a random one")
		}
		n.Password, n.PasswordSecret = password.Password, password.Secret
	}
	n.Latent = &config.Latent{
		Backend: backend, BuildWait: l.BuildWaitTimeout, CheckEvery: l.CheckInstanceInterval, Missing: l.MissingTimeout,
		MasterFQDN: l.MasterFQDN, MayBeIncompatible: varies,
	}
	seen := map[string]bool{}
	for _, limit := range l.Caps {
		if seen[limit.Name] {
			c.Problem("duplicate-name", "caps", "the cap "+limit.Name+" is in the list twice", "")
		}
		seen[limit.Name] = true
		n.Latent.Caps = append(n.Latent.Caps, *limit)
	}
	return n
}
