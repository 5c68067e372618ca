// Package steps is the vocabulary of build steps: steps.ShellCommand and the others.
// A file declares one class (or a few that differ little), with its behaviour.
package steps

import (
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// Module is the namespace steps of master.star.
var Module = &spec.Module{
	Name: "steps",
	Classes: []*spec.Class{
		ShellCommand, ShellSequence, Configure, TreeSize, RemovePYCs, MasterShellCommand, Trigger,
		SetProperty, SetProperties, SetPropertyFromCommand, Assert, LogRenderable,
		MakeDirectory, RemoveDirectory, CopyDirectory, FileExists,
		FileUpload, DirectoryUpload, MultipleFileUpload,
		FileDownload, StringDownload, JSONStringDownload, JSONPropertiesDownload,
		Git,
	},
	Unsupported: unsupportedSteps(),
}

// All is a step of every type that a class makes.
var All = []run.Step{
	&Shell{}, &shellSequence{}, &treeSize{}, &masterShellCommand{},
	&setProperty{}, &setProperties{}, &setPropertyFromCommand{}, &assertion{}, &logRenderable{},
	&makeDirectory{}, &removeDirectory{}, &copyDirectory{}, &fileExists{},
	&fileUpload{}, &directoryUpload{}, &multipleFileUpload{},
	&fileDownload{}, &stringDownload{}, &jsonStringDownload{}, &jsonPropertiesDownload{}, &trigger{}, &gitStep{},
}

const meanwhile = "use steps.ShellCommand with the command that you want to run"

// unsupportedSteps are the classes of Buildbot that this master does not have yet
// (docs/requirements.md C4).
func unsupportedSteps() map[string]string {
	names := map[string]string{
		"SetPropertiesFromEnv": "the environment of workers may hold secrets and is not kept; use steps.SetPropertyFromCommand",
		"HTTPStep":             "", "POST": "", "GET": "", "PUT": "", "DELETE": "", "HEAD": "", "OPTIONS": "",
		"DownloadSecretsToWorker": "", "RemoveWorkerFileSecret": "", "BuildStep": "", "WorkerBuildStep": "", "GitDiffInfo": "",
		"RepoDownloadsFromProperties": "", "RepoDownloadsFromChangeSource": "",
		"BuildbotTestCiTrigger": "", "BuildbotCiSetupSteps": "",
	}
	for _, n := range []string{
		"WarningCountingShellCommand", "Compile", "Test", "PerlModuleTest",
		"CMake", "Cppcheck", "BuildEPYDoc", "PyFlakes", "PyLint",
		"Sphinx", "HLint", "Trial", "SubunitShellCommand", "Robocopy", "VisualStudio", "VC6", "VC7",
		"VC8", "VCExpress9", "VC9", "VC10", "VC11", "VC12", "VC14", "VC141", "VS2003", "VS2005", "VS2008", "VS2010", "VS2012",
		"VS2013", "VS2015", "VS2017", "VS2019", "VS2022", "MsBuild", "MsBuild4", "MsBuild12", "MsBuild14", "MsBuild141",
		"MsBuild15", "MsBuild16", "MsBuild17", "MaxQ", "DebLintian", "DebPbuilder", "DebCowbuilder", "UbuPbuilder",
		"UbuCowbuilder", "Mock", "MockBuildSRPM", "MockRebuild", "RpmBuild", "RpmLint",
		"Source", "GitPush", "GitTag", "GitCommit", "GitHub", "GitLab", "Gerrit", "SVN", "Mercurial", "P4", "Repo", "Bzr",
		"CVS", "Darcs", "Monotone",
	} {
		names[n] = meanwhile
	}
	return names
}
