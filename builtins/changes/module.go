// Package changes is the vocabulary of change sources: what finds out that something
// was changed. A file declares one class, with its behaviour.
package changes

import "buildstar/starlark/spec"

// Module is the namespace changes of master.star.
var Module = &spec.Module{
	Name:    "changes",
	Classes: []*spec.Class{GitPoller},
	Unsupported: map[string]string{
		"PBChangeSource": "remove it: `buildstar sendchange` sends changes to the web port, over HTTP",

		"HgPoller": bySending, "P4Source": bySending, "SVNPoller": bySending, "BitbucketPullrequestPoller": bySending,
		"GitHubPullrequestPoller": bySending, "GerritChangeSource": bySending, "GerritEventLogPoller": bySending,
		"GerritChangeFilter": "", "MaildirSource": bySending, "CVSMaildirSource": bySending,
		"SVNCommitEmailMaildirSource": bySending, "BzrLaunchpadEmailMaildirSource": bySending, "BzrPoller": bySending,
	},
}

const bySending = "until then a hook of the repository can call `buildstar sendchange`"
