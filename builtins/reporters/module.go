// Package reporters is the vocabulary of those who tell people and other programs what
// happens: reporters.MailNotifier and what it is to say.
package reporters

import "buildstar/starlark/spec"

// Module is the namespace reporters of master.star.
var Module = &spec.Module{
	Name:    "reporters",
	Classes: []*spec.Class{MailNotifier, WorkerMissingGenerator},
	Unsupported: map[string]string{
		"HttpStatusPush": "", "GitHubStatusPush": "", "GitHubCommentPush": "", "GitLabStatusPush": "", "GerritStatusPush": "",
		"GerritVerifyStatusPush": "", "BitbucketStatusPush": "", "BitbucketServerStatusPush": "",
		"BitbucketServerCoreAPIStatusPush": "", "BitbucketServerPRCommentPush": "", "IRC": "", "TelegramBot": "",
		"ZulipStatusPush": "", "PushoverNotifier": "", "PushjetNotifier": "",
		"BuildStatusGenerator": onlyMissing, "BuildStartEndStatusGenerator": onlyMissing, "BuildRequestGenerator": onlyMissing,
		"BuildSetStatusGenerator": onlyMissing, "BuildSetCombinedStatusGenerator": onlyMissing,
		"MessageFormatterEmpty": onlyMissing, "MessageFormatterFunctionRaw": onlyMissing, "MessageFormatterFunction": onlyMissing,
		"MessageFormatterRenderable": onlyMissing, "MessageFormatter": onlyMissing, "MessageFormatterMissingWorker": onlyMissing,
	},
}

const onlyMissing = "the only mails so far are those about missing workers"
