package starlark

import (
	"fmt"
	"slices"
	"strings"
	"time"

	star "go.starlark.net/starlark"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// topLevel is c (docs/requirements.md C1). Lists of nodes are read by the graph phase.
type topLevel struct {
	// Workers are who may build; unique by name.
	Workers star.Value `star:"workers,optional"`
	// Builders are what can be built; unique by name.
	Builders star.Value `star:"builders,optional"`
	// Schedulers decide when; unique by name.
	Schedulers star.Value `star:"schedulers,optional"`
	// Projects group builders.
	Projects star.Value `star:"projects,optional"`
	// SecretsProviders are where secrets are kept; the first that has one of a name counts.
	SecretsProviders []config.SecretsProvider `star:"secretsProviders,optional"`
	// Machines are what workers share; unique by name.
	Machines star.Value `star:"machines,optional"`
	// Title is the name of the installation, shown on every page.
	Title string `star:"title,optional"`
	// TitleURL is where the title leads.
	TitleURL string `star:"titleURL,optional"`
	// BuildbotURL is the address that people reach the page at.
	BuildbotURL string `star:"buildbotURL,optional"`
	// Properties are set in every build.
	Properties map[string]any `star:"properties,optional"`
	// ChangeSource is one or a list of what finds changes; unique by name.
	ChangeSource star.Value `star:"change_source,optional"`
	// Services are reporters: so far reporters.MailNotifier.
	Services []config.Reporter `star:"services,optional"`
	// CollapseRequests merges requests of one builder for the same source.
	CollapseRequests *bool `star:"collapseRequests,optional" nofunc:"1"`
	// CodebaseGenerator is a function that gets a change, as a dict, and returns its
	// codebase. Changes that name their codebase are not asked about.
	CodebaseGenerator star.Value `star:"codebaseGenerator,optional"`
	// RevLink is a function that gets a revision and a repository and returns the link of
	// the revision, or None; or a util.RevlinkMatch. The default knows GitHub, GitLab,
	// Bitbucket and SourceForge.
	RevLink star.Value `star:"revlink,optional"`
	// ResumeTimeout is how many seconds a build waits for its worker when the connection is
	// cut or the master was restarted; then it is built anew. Only builds on our own workers
	// wait. The default is 600.
	ResumeTimeout time.Duration `star:"resume_timeout,optional" min:"0"`
	// WWW is the web server.
	WWW *star.Dict `star:"www,optional"`
	// Protocols is where workers connect.
	Protocols *star.Dict `star:"protocols,optional"`
}

var topLevelClass = &spec.Class{
	Name: "c",
	New: func() any {
		return &topLevel{Title: "Buildbot", TitleURL: "http://buildbot.net/", ResumeTimeout: 10 * time.Minute}
	},
	Old: map[string]string{"slaves": "workers", "status": "services", "projectName": "title", "projectURL": "titleURL", "mergeRequests": "collapseRequests"},
	Unsupported: map[string]string{
		"db": "remove it: everything is kept in state.sqlite in the basedir", "db_url": "remove it: everything is kept in state.sqlite in the basedir",
		"buildbotNetUsageData": "remove it: nothing is ever reported to anybody",
		"mq":                   "", "multiMaster": "", "prioritizeBuilders": "", "select_next_worker": "",
		"codebases":     "",
		"configurators": "", "user_managers": "", "manhole": "", "metrics": "", "statistics": "", "stats-services": "",
		"validation": "", "logCompressionMethod": "", "logCompressionLimit": "", "logMaxSize": "",
		"logMaxTailSize": "", "logEncoding": "", "changeHorizon": "", "logHorizon": "", "buildHorizon": "",
		"caches": "", "buildCacheSize": "", "changeCacheSize": "", "eventHorizon": "", "debugPassword": "",
		"slavePortnum": "write c['protocols'] = {'msgpack_experimental_v7': {'port': ...}}",
		"reporters":    "write c['services'] = [...]",
	},
}

// www is c['www'] (docs/requirements.md C9).
type www struct {
	// Port is where the page listens.
	Port *listen `star:"port,optional"`
	// ChangeHookDialects are what /change_hook/DIALECT takes: {'base': True, 'poller': True}.
	ChangeHookDialects *star.Dict `star:"change_hook_dialects,optional"`
	// ChangeHookAuth are the passwords of the users who may use the change hooks; the
	// default is that anybody may.
	ChangeHookAuth map[string]prop.Password `star:"change_hook_auth,optional,secret"`
}

var wwwClass = &spec.Class{
	Name: "www",
	New:  func() any { return &www{} },
	Unsupported: map[string]string{
		"auth": "", "authz": "", "avatar_methods": "", "plugins": "the page has its parts built in; remove it",
		"default_page": "", "debug": "", "allowed_origins": "",
		"cookie_expiration_time": "", "custom_templates_dir": "", "json_cache_seconds": "", "jsonp": "",
		"logfileName": "", "logRotateLength": "", "maxRotatedFiles": "", "rest_minimum_version": "",
		"ui_default_config": "", "versions": "", "ws_ping_interval": "", "theme": "", "project_widgets": "", "graphql": "",
	},
}

// protocols is c['protocols'].
type protocols struct {
	// Msgpack is the protocol over WebSockets that stock workers of 3.0 and later speak.
	Msgpack *star.Dict `star:"msgpack_experimental_v7,optional"`
}

const usePortable = "recreate the worker with --protocol=msgpack_experimental_v7, and write c['protocols'] = {'msgpack_experimental_v7': {'port': ...}}"

var protocolsClass = &spec.Class{
	Name:        "protocols",
	New:         func() any { return &protocols{} },
	Unsupported: map[string]string{"pb": usePortable, "wamp": "", "null": "local workers need no protocol; remove it"},
}

type msgpack struct {
	// Port is where workers connect.
	Port *listenTLS `star:"port"`
	// TLSCert is the file, below the basedir, with the certificate to show to workers, and
	// those between it and an authority, as PEM. Workers then connect to wss://.
	TLSCert string `star:"tls_cert,optional"`
	// TLSKey is the file with the private key of the certificate.
	TLSKey string `star:"tls_key,optional"`
}

var msgpackClass = &spec.Class{Name: "msgpack_experimental_v7", New: func() any { return &msgpack{} }}

// KeyClasses are the dicts of the configuration, c first: what the reference lists.
func KeyClasses() []*spec.Class {
	return []*spec.Class{topLevelClass, wwwClass, dialectsClass, pollerHookClass, protocolsClass, msgpackClass}
}

// A root is the configuration dict while it is read.
type root struct {
	e      *evaluation
	name   string // c or BuildmasterConfig
	places map[string]prop.Pos
}

// root finds the dict in the globals of master.star.
func (e *evaluation) root(globals star.StringDict) (root, *star.Dict) {
	r := root{e: e, name: "c"}
	v, other := globals["c"], globals["BuildmasterConfig"]
	if v == nil {
		r.name, v = "BuildmasterConfig", other
	}
	if f := e.files[e.main]; f != nil && f.tree != nil {
		r.places = keyPlaces(f.tree, r.name)
	}
	at := r.place("")
	switch d := v.(type) {
	case nil:
		e.report(prop.Problem{Code: "no-config", Pos: at, Text: "the file assigns neither c nor BuildmasterConfig",
			Hint: "begin with c = {} and fill it in: c['workers'] = [...]"})
	case *spec.Placeholder:
	case *star.Dict:
		if other != nil && other != v {
			e.report(prop.Problem{Code: "no-config", Pos: at, Text: "c and BuildmasterConfig are two different dicts",
				Hint: "use one of them"})
			return r, nil
		}
		return r, d
	default:
		e.report(prop.Problem{Code: "wrong-type", Pos: at, Subject: r.name, Text: "want dict, got " + spec.Got(v)})
	}
	return r, nil
}

// place returns where a key stands, or where its parent does.
func (r root) place(key string) prop.Pos {
	for {
		if p, ok := r.places[key]; ok {
			return p
		}
		if key == "" {
			return prop.Pos{File: r.e.main, Line: 1, Col: 1}
		}
		key = key[:max(strings.LastIndexByte(key, '.'), 0)]
	}
}

// subject writes c['www']['port'] for www.port.
func (r root) subject(key string) string {
	s := r.name
	if key != "" {
		for k := range strings.SplitSeq(key, ".") {
			s += "['" + k + "']"
		}
	}
	return s
}

func (r root) problem(code, key, text, hint string) {
	r.e.report(prop.Problem{Code: code, Pos: r.place(key), Subject: r.subject(key), Text: text, Hint: hint})
}

// keys binds the dict at prefix to the struct of class.
func (r root) keys(class *spec.Class, prefix string, d *star.Dict) any {
	full := func(key string) string {
		if prefix != "" && key != "" {
			return prefix + "." + key
		}
		return prefix + key
	}
	return class.Keys(r.e.env, d,
		func(key string) string { return r.subject(full(key)) },
		func(key string) prop.Pos { return r.place(full(key)) })
}

// oldKeys are keys of Buildbot 0.8 whose value is meant for another key.
var oldKeys = map[string]string{"slaves": "workers", "slavePortnum": "protocols"}

// misspelled reports whether another key was reported that stands for this one.
func (r root) misspelled(key string) bool {
	return slices.ContainsFunc(r.e.env.Problems(), func(p prop.Problem) bool {
		for old, now := range oldKeys {
			if now == key && p.Subject == r.subject(old) {
				return true
			}
		}
		return p.Code == "unknown-key" && p.Hint == fmt.Sprintf("did you mean %q?", key)
	})
}

// read reads the top level into a Master.
func (r root) read(d *star.Dict) (*topLevel, config.Master) {
	top := r.keys(topLevelClass, "", d).(*topLevel)
	m := config.Master{
		Title: top.Title, TitleURL: withSlash(top.TitleURL), BuildbotURL: withSlash(top.BuildbotURL),
		Secrets: top.SecretsProviders, Reporters: top.Services, Properties: top.Properties, CollapseRequests: top.CollapseRequests == nil || *top.CollapseRequests,
		ResumeTimeout: top.ResumeTimeout,
	}
	m.CodebaseGenerator, m.RevLink = r.readChangeFunctions(top)
	if top.WWW != nil {
		m.WWW = r.readWWW(top.WWW)
	}
	if top.Protocols != nil {
		p := r.keys(protocolsClass, "protocols", top.Protocols).(*protocols)
		if p.Msgpack != nil {
			key := "protocols.msgpack_experimental_v7"
			if q := r.keys(msgpackClass, key, p.Msgpack).(*msgpack); q.Port != nil {
				q.Port.Pos = r.place(key + ".port")
				r.tls(key, q)
				m.WorkerListen = append(m.WorkerListen, q.Port.Listen)
			}
		}
	}
	if m.BuildbotURL == "" {
		m.BuildbotURL = "http://localhost:8010/"
		if p := m.WWW.Port; p != nil && p.Port != 0 {
			m.BuildbotURL = fmt.Sprintf("http://localhost:%d/", p.Port)
		}
	}
	r.ports(m)
	if u := top.BuildbotURL; u != "" && !strings.HasPrefix(u, "http://") && !strings.HasPrefix(u, "https://") {
		r.e.warn(prop.Problem{Code: "bad-url", Pos: r.place("buildbotURL"), Subject: r.subject("buildbotURL"),
			Text: "it begins neither with http:// nor with https://, so links to the page will not work"})
	}
	if u := top.TitleURL; u != "" && !strings.HasPrefix(u, "http://") && !strings.HasPrefix(u, "https://") {
		r.e.warn(prop.Problem{Code: "bad-url", Pos: r.place("titleURL"), Subject: r.subject("titleURL"),
			Text: "it begins neither with http:// nor with https://, so the title will lead nowhere"})
	}
	const longTitle = 18
	if len([]rune(top.Title)) > longTitle {
		r.e.warn(prop.Problem{Code: "long-title", Pos: r.place("title"), Subject: r.subject("title"),
			Text: fmt.Sprintf("the title is longer than %d characters and may not fit the page", longTitle)})
	}
	return top, m
}

// tls reads tls_cert and tls_key.
func (r root) tls(key string, p *msgpack) {
	switch {
	case p.TLSCert == "" && p.TLSKey == "":
		return
	case p.TLSCert == "":
		r.problem("missing-key", key+".tls_key", "there is no tls_cert beside it", "write 'tls_cert': FILE")
	case p.TLSKey == "":
		r.problem("missing-key", key+".tls_cert", "there is no tls_key beside it", "write 'tls_key': FILE")
	case p.Port.TLS != nil:
		r.problem("bad-value", key+".tls_cert", "the port names a certificate already", "write one of them")
	}
	p.Port.TLS = &config.TLS{Cert: p.TLSCert, Key: p.TLSKey}
}

// ports reports an address that is used twice.
func (r root) ports(m config.Master) {
	all := m.WorkerListen
	if m.WWW.Port != nil {
		all = append([]config.Listen{*m.WWW.Port}, all...)
	}
	for i, a := range all {
		for _, b := range all[:i] {
			if a.Port == b.Port && a.Port != 0 && (a.Host == b.Host || a.Host == "" || b.Host == "") {
				r.e.report(prop.Problem{Code: "duplicate-port", Pos: a.Pos, Subject: r.name,
					Text: fmt.Sprintf("port %d is used twice", a.Port), Hint: fmt.Sprintf("it is used at %v already", b.Pos)})
			}
		}
	}
}

func withSlash(url string) string {
	if url == "" || strings.HasSuffix(url, "/") {
		return url
	}
	return url + "/"
}

// warn adds a warning, once for each place.
func (e *evaluation) warn(p prop.Problem) {
	k := warningKey{p.Pos, p.Code, p.Subject, p.Text}
	if e.warned[k] {
		return
	}
	if e.warned == nil {
		e.warned = make(map[warningKey]bool)
	}
	e.warned[k] = true
	e.warnings = append(e.warnings, p)
}

type warningKey struct {
	pos                 prop.Pos
	code, subject, text string
}
