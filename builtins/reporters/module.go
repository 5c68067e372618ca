// Package reporters is the vocabulary of those who tell people and other programs what
// happens: reporters.MailNotifier.
package reporters

import "buildstar/starlark/spec"

// Module is the namespace reporters of master.star.
var Module = &spec.Module{
	Name:    "reporters",
	Classes: []*spec.Class{MailNotifier},
	Unsupported: map[string]string{
		"HttpStatusPush": "", "GitHubStatusPush": "", "GitHubCommentPush": "", "GitLabStatusPush": "", "GerritStatusPush": "",
		"GerritVerifyStatusPush": "", "BitbucketStatusPush": "", "BitbucketServerStatusPush": "",
		"BitbucketServerCoreAPIStatusPush": "", "BitbucketServerPRCommentPush": "", "IRC": "", "TelegramBot": "",
		"ZulipStatusPush": "", "PushoverNotifier": "", "PushjetNotifier": "",
		"BuildStatusGenerator": onlyMissing, "BuildStartEndStatusGenerator": onlyMissing, "BuildRequestGenerator": onlyMissing,
		"BuildSetStatusGenerator": onlyMissing, "BuildSetCombinedStatusGenerator": onlyMissing,
		"WorkerMissingGenerator": "a worker's notify_on_missing says who hears of it",
		"MessageFormatterEmpty":  onlyMissing, "MessageFormatterFunctionRaw": onlyMissing, "MessageFormatterFunction": onlyMissing,
		"MessageFormatterRenderable": onlyMissing, "MessageFormatter": onlyMissing, "MessageFormatterMissingWorker": onlyMissing,
	},
}

const onlyMissing = "the only mails so far are those about missing workers"
