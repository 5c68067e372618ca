// Package util is the vocabulary of everything that is no worker, step or
// scheduler: builders, factories, locks, renderables, force parameters and
// results. A file declares one class, with its behaviour.
package util

import (
	star "go.starlark.net/starlark"

	"buildstar/config"
	"buildstar/starlark/spec"
)

// Module is the namespace util of master.star.
var Module = &spec.Module{
	Name: "util",
	Classes: []*spec.Class{
		ChangeFilter,
		BuilderConfig, BuildFactory, Project, MasterLock, WorkerLock,
		Interpolate, Property, Secret, Transform, Renderer, FlattenList,
		ShellArg, StringParameter, TextParameter, IntParameter, BooleanParameter, FixedParameter, ChoiceStringParameter,
		UserNameParameter, CodebaseParameter, RevlinkMatch,
		GitCredentialOptions, GitCredentialInputRenderer, InstanceCap, Connection,
	},
	Values:      values(),
	Unsupported: unsupported,
}

// values are the results by name (docs/requirements.md C2), Results with their words, and
// URLForBuild.
func values() map[string]star.Value {
	m := map[string]star.Value{"URLForBuild": URLForBuild}
	words := make(star.Tuple, 0, len(results))
	for i, name := range results {
		m[name] = star.MakeInt(i)
		words = append(words, star.String(config.Result(i).String()))
	}
	m["Results"] = words
	return m
}

var results = []string{"SUCCESS", "WARNINGS", "FAILURE", "SKIPPED", "EXCEPTION", "RETRY", "CANCELLED"}

// unsupported are the names that Buildbot has in util and this master does not
// yet (docs/requirements.md C2 to C11).
var unsupported = map[string]string{
	"WithProperties":    `write util.Interpolate: "%(prop:NAME)s" for "%(NAME)s"`,
	"BasicBuildFactory": useFactory, "BasicSVN": useFactory, "CPAN": useFactory, "Distutils": useFactory,
	"GNUAutoconf": useFactory, "QuickBuildFactory": useFactory, "Trial": useFactory,

	"AnyPropertyParameter":      "name each property with a util.StringParameter",
	"FileParameter":             "",
	"InheritBuildParameter":     "",
	"NestedParameter":           "list the fields themselves",
	"ParameterGroup":            "list the fields themselves",
	"PatchParameter":            "a force request cannot carry a patch",
	"WorkerChoiceParameter":     "",
	"SlaveLock":                 "since Buildbot 0.9 it is util.WorkerLock",
	"BuildslaveChoiceParameter": "since Buildbot 0.9 it is WorkerChoiceParameter, which is not supported yet either",

	"AvatarGitHub": "", "AvatarGravatar": "",
	"UserPasswordAuth": auth, "HTPasswdAuth": auth, "HTPasswdAprAuth": auth, "RemoteUserAuth": auth, "CustomAuth": auth,
	"NoAuth": "everybody may do everything; leave it out", "LdapUserInfo": auth,
	"GitHubAuth": auth, "GitLabAuth": auth, "GoogleAuth": auth, "BitbucketAuth": auth, "KeyCloakAuth": auth,
	"Authz": auth, "fnmatchStrMatcher": auth, "reStrMatcher": auth,
	"AnyEndpointMatcher": auth, "AnyControlEndpointMatcher": auth, "StopBuildEndpointMatcher": auth,
	"ForceBuildEndpointMatcher": auth, "RebuildBuildEndpointMatcher": auth, "EnableSchedulerEndpointMatcher": auth,
	"ViewBuildsEndpointMatcher": auth, "BranchEndpointMatcher": auth,
	"RolesFromGroups": auth, "RolesFromEmails": auth, "RolesFromDomain": auth, "RolesFromOwner": auth, "RolesFromUsername": auth,

	"GerritChangeFilter": "", "SourceStampFilter": "",
	"split_file_alwaystrunk": "", "split_file_branches": "", "split_file_projects_branches": "",
	"RepoDownloadsFromChangeSource": "", "RepoDownloadsFromProperties": "",
	"LogLineObserver":     "",
	"enforceChosenWorker": "", "Codebase": "", "DbConfig": "",
	"JanitorConfigurator": "", "OldBuildCanceller": "", "FailingBuildsetCanceller": "", "CommandlineUserManager": "",
	"AuthorizedKeysManhole": manhole, "PasswordManhole": manhole, "TelnetManhole": manhole,
	"KubeHardcodedConfig": "", "KubeCtlProxyConfigLoader": "", "KubeInClusterConfigLoader": "",
	"StatsService": "", "InfluxStorageService": "", "CaptureProperty": "", "CapturePropertyAllBuilders": "",
	"CaptureBuildDuration": "", "CaptureBuildDurationAllBuilders": "", "CaptureBuildStartTime": "",
	"CaptureBuildStartTimeAllBuilders": "", "CaptureBuildEndTime": "", "CaptureBuildEndTimeAllBuilders": "",
	"CaptureData": "", "CaptureDataAllBuilders": "",
}

const (
	useFactory = "list the steps in a util.BuildFactory"
	auth       = "until then let www listen on loopback, behind a proxy that asks who is there"
	manhole    = "there is no Python to look into"
)
