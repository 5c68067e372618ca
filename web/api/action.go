package api

import (
	"errors"
	"net/http"
)

// Action is what a request asks for. Every route has one, and no route runs
// before the [Policy] has allowed it (docs/requirements.md D1 pain 28).
type Action string

// The actions. What a JSON-RPC request asks for depends on its method.
const (
	ActionView            Action = "view"             // rows of the REST API
	ActionViewLog         Action = "view-log"         // the text of a log
	ActionExplain         Action = "explain"          // why a request waits
	ActionListen          Action = "listen"           // live events, /ws
	ActionPage            Action = "page"             // a page for people
	ActionPagePost        Action = "page-post"        // a form of a page
	ActionForce           Action = "force"            // fire a force scheduler
	ActionRebuild         Action = "rebuild"          // build the same again
	ActionStopBuild       Action = "stop-build"       // a running one
	ActionCancelRequest   Action = "cancel-request"   // waiting or building
	ActionSetPriority     Action = "set-priority"     // of a request
	ActionPauseWorker     Action = "pause-worker"     // so that it takes no builds
	ActionUnpauseWorker   Action = "unpause-worker"   // so that it takes them again
	ActionStopWorker      Action = "stop-worker"      // its process exits once it is idle
	ActionKillWorker      Action = "kill-worker"      // its process exits now
	ActionEnableScheduler Action = "enable-scheduler" // or disable it
	ActionAddChange       Action = "add-change"       // tell a change
	ActionPollChanges     Action = "poll-changes"     // make a change source look now
	ActionReapInstances   Action = "reap-instances"   // stop those that the ledger does not know, or list them
	ActionReconfig        Action = "reconfig"         // load the configuration again
	ActionUnknown         Action = "unknown"          // a path or method there is not
)

// A Policy decides whether a request may do an action; a nil error allows it. The
// error is shown to the person who was refused. It is called once for every request,
// from many goroutines, before anything is read or done for it; for a POST that is
// when its body has said what it wants.
type Policy func(r *http.Request, a Action) error

// AllowAll is the policy of a master without authentication.
func AllowAll(*http.Request, Action) error { return nil }

// errForbidden is what a refusal by policy or by origin wraps.
var errForbidden = errors.New("forbidden")
