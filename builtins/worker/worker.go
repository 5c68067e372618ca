package worker

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// Worker is worker.Worker (docs/requirements.md A1, A2, B1).
var Worker = &spec.Class{
	Module: "worker", Name: "Worker",
	New:     func() any { return &worker{common: defaults(), absence: anHour()} },
	Renamed: renamed, Old: old, Partial: true,
}

// worker is a worker that is started by hand, somewhere, and dials in.
type worker struct {
	// Name identifies the worker; it logs in with it. It has at most 50 letters,
	// digits, _ and -, and does not begin with a digit (B0).
	Name string `star:"name"`
	// Password is what the worker logs in with, a string or util.Secret. It is printed
	// nowhere (A1.5, A1.7).
	Password prop.Credential `star:"password"`
	common   `star:",kw"`
	absence  `star:",kw"`
}

// common is what every worker has.
type common struct {
	// MaxBuilds is how many builds may run on the worker at once. None and 0, the
	// default, are no limit (A2.4).
	MaxBuilds int `star:"max_builds,optional" min:"0"`
	// Properties are set for every build on the worker, with the source "Worker";
	// they win over those of schedulers and builders (A2.1, A2.2).
	Properties map[string]any `star:"properties,optional"`
	// DefaultProperties are set for every build on the worker if nothing else set
	// them (A2.3).
	DefaultProperties map[string]any `star:"defaultProperties,optional"`
	// KeepaliveInterval is how often the master sends the worker a small message, so that
	// bytes flow and the network keeps the connection; the default is an hour. Apart from
	// that a worker that is silent for 30 seconds is asked for a sign of life, and lost
	// after two without an answer. None turns both off (A3).
	KeepaliveInterval *time.Duration `star:"keepalive_interval,optional" min:"1"`
	// Locks are lock accesses that every build on the worker holds from start to end.
	// They depend on no properties: they are had before a build is (C5).
	Locks config.LockAccesses `star:"locks,optional"`
	// MachineName is the name of the machine that the worker runs on, one of
	// c['machines']. Builds have it as the property machine_name (B11).
	MachineName string `star:"machine_name,optional"`
}

func defaults() common {
	hour := time.Hour
	return common{KeepaliveInterval: &hour}
}

func (c *common) keepalive() time.Duration {
	if c.KeepaliveInterval == nil {
		return 0
	}
	return *c.KeepaliveInterval
}

// renamed are the names that documents give the arguments in prose, old those of
// Buildbot 0.8 (A1.3).
var renamed = map[string]string{
	"workername": "name", "workerpassword": "password", "passwd": "password",
}

var old = map[string]string{"slavename": "name", "slavepassword": "password"}

// Make makes the node.
func (w *worker) Make(c *spec.Call) any {
	checkName(c, w.Name)
	if !w.Password.IsSet() {
		c.Problem("bad-value", "password", "the password is empty", "choose one that is hard to guess: it keeps strangers from taking builds")
	}
	n := w.node(c, "Worker", w.Name)
	n.Password, n.PasswordSecret = w.Password.Password, w.Password.Secret
	w.note(c, n)
	return n
}

// node makes the node of a worker, which the class completes.
func (w *common) node(c *spec.Call, class, name string) *config.Worker {
	return &config.Worker{
		At: config.At{Where: c.Pos()}, Class: class, Name: name,
		MaxBuilds: w.MaxBuilds, Properties: w.Properties, DefaultProperties: w.DefaultProperties,
		Locks: w.Locks, Machine: w.MachineName, Keepalive: w.keepalive(),
	}
}

// reserved are names that a worker cannot have (B0).
var reserved = []string{"debug", "change", "status"}

func checkName(c *spec.Call, name string) {
	if err := config.CheckIdentifier(name); err != nil {
		c.Problem("bad-name", "name", err.Error(), "")
		return
	}
	if n := utf8.RuneCountInString(name); n > config.MaxName {
		c.Problem("bad-name", "name", fmt.Sprintf("the name has %d characters, at most %d are possible", n, config.MaxName), "")
	}
	if slices.Contains(reserved, name) {
		c.Problem("bad-name", "name", fmt.Sprintf("%q is reserved", name), "choose another name")
	}
}
