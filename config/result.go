package config

import "fmt"

// Result is how a step, a build or a request ended. The numbers are Buildbot's
// and part of the REST API (docs/requirements.md C2).
type Result int8

const (
	Success Result = iota
	Warnings
	Failure
	Skipped
	Exception
	Retry
	Cancelled

	// Unfinished is the result of what still runs; REST shows it as null for builds
	// and steps and as -1 for requests and buildsets.
	Unfinished Result = -1
)

var resultNames = [...]string{"success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"}

// String returns the result in lower case: "success".
func (r Result) String() string {
	if r == Unfinished {
		return "unfinished"
	}
	if r < 0 || int(r) >= len(resultNames) {
		return fmt.Sprintf("Result(%d)", int8(r))
	}
	return resultNames[r]
}

// Worst returns the worse of two results, in the order CANCELLED, RETRY,
// EXCEPTION, FAILURE, WARNINGS, SUCCESS, SKIPPED (docs/requirements.md C2).
func Worst(a, b Result) Result {
	if badness[a] >= badness[b] {
		return a
	}
	return b
}

var badness = [...]int8{Skipped: 0, Success: 1, Warnings: 2, Failure: 3, Exception: 4, Retry: 5, Cancelled: 6}

// EndsBuild reports whether a step with this result ends its build whatever its
// options say; only alwaysRun steps follow it.
func (r Result) EndsBuild() bool { return r == Exception || r == Retry || r == Cancelled }
