package sqlite

// kind says how the values of a column compare with those of a filter.
type kind int

const (
	number   kind = iota
	optional      // a number whose 0 is null to clients: ids that may be missing
	running       // results whose -1 is null to clients
	flag          // a boolean
	instant       // milliseconds, compared in seconds; 0 is null to clients
	plain
	nullText // plain or NULL
	texts    // a JSON list of strings
	linked   // ids of other rows; "expr=one" selects the ids of this table that have it
)

// column is one field that may be filtered and sorted by.
type column struct {
	expr string
	kind kind
}

// resource is one table as clients see it: columns by REST name (docs/requirements.md C10).
type resource struct {
	table  string
	id     string // the field that is the primary key
	fields map[string]column
}

var resources = map[string]resource{
	"masters": {"masters", "masterid", map[string]column{
		"masterid":    {"id", number},
		"name":        {"name", plain},
		"active":      {"active", flag},
		"last_active": {"last_active", instant},
	}},
	"builders": {"builders", "builderid", map[string]column{
		"builderid":          {"id", number},
		"name":               {"name", plain},
		"description":        {"description", plain},
		"description_format": {"description_format", plain},
		"projectid":          {"project_id", optional},
		"tags":               {"tags", texts},
		"active":             {"active", flag},
	}},
	"projects": {"projects", "projectid", map[string]column{
		"projectid":          {"id", number},
		"name":               {"name", plain},
		"slug":               {"slug", plain},
		"description":        {"description", plain},
		"description_format": {"description_format", plain},
		"active":             {"active", flag},
	}},
	"workers": {"workers", "workerid", map[string]column{
		"workerid":     {"id", number},
		"name":         {"name", plain},
		"paused":       {"paused", flag},
		"pause_reason": {"pause_reason", plain},
		"graceful":     {"graceful", flag},
		"connected":    {"connected", flag},
		"active":       {"active", flag},
		"changed_at":   {"changed_at", instant},

		"paused_by":          {"paused_by", plain},
		"paused_at":          {"paused_at", instant},
		"graceful_reason":    {"graceful_reason", plain},
		"graceful_by":        {"graceful_by", plain},
		"graceful_at":        {"graceful_at", instant},
		"quarantine_since":   {"quarantine_since", instant},
		"quarantine_until":   {"quarantine_until", instant},
		"quarantine_count":   {"quarantine_count", number},
		"quarantine_cause":   {"quarantine_cause", plain},
		"quarantine_buildid": {"quarantine_build", optional},
	}},
	"schedulers": {"schedulers", "schedulerid", map[string]column{
		"schedulerid": {"id", number},
		"name":        {"name", plain},
		"enabled":     {"enabled", flag},
		"active":      {"active", flag},
		"error":       {"error", plain},
		"error_at":    {"error_at", optional},
		"acted_at":    {"acted_at", optional},
	}},
	"changesources": {"changesources", "changesourceid", map[string]column{
		"changesourceid": {"id", number},
		"name":           {"name", plain},
		"error":          {"error", plain},
		"active":         {"active", flag},
	}},
	"instances": {"instances", "instanceid", map[string]column{
		"instanceid":   {"id", number},
		"worker":       {"worker", plain},
		"kind":         {"kind", plain},
		"state":        {"state", plain},
		"handle":       {"handle", plain},
		"info":         {"info", texts},
		"caps":         {"caps", texts},
		"buildid":      {"build_id", optional},
		"created_at":   {"created_at", instant},
		"started_at":   {"started_at", instant},
		"connected_at": {"connected_at", instant},
		"stopping_at":  {"stopping_at", instant},
		"gone_at":      {"gone_at", instant},
		"failures":     {"failures", number},
		"failure":      {"failure", plain},
	}},
	"interruptions": {"interruptions", "interruptionid", map[string]column{
		"interruptionid": {"id", number},
		"buildid":        {"build_id", number},
		"cause":          {"cause", plain},
		"started_at":     {"started_at", instant},
		"ended_at":       {"ended_at", instant},
		"times":          {"times", number},
	}},
	"sourcestamps": {"sourcestamps", "ssid", map[string]column{
		"ssid":       {"id", number},
		"branch":     {"branch", nullText},
		"revision":   {"revision", nullText},
		"project":    {"project", plain},
		"repository": {"repository", plain},
		"codebase":   {"codebase", plain},
		"created_at": {"created_at", instant},
	}},
	"changes": {"changes", "changeid", map[string]column{
		"changeid":         {"id", number},
		"author":           {"author", plain},
		"committer":        {"committer", nullText},
		"comments":         {"comments", plain},
		"branch":           {"branch", nullText},
		"revision":         {"revision", nullText},
		"category":         {"category", nullText},
		"revlink":          {"revlink", nullText},
		"when_timestamp":   {"at", instant},
		"codebase":         {"codebase", plain},
		"project":          {"project", plain},
		"repository":       {"repository", plain},
		"files":            {"files", texts},
		"parent_changeids": {"parent_id", optional}, // a list of at most one
		"ssid":             {"sourcestamp_id", number},
	}},
	"buildsets": {"buildsets", "bsid", map[string]column{
		"bsid":                {"id", number},
		"external_idstring":   {"external_id", nullText},
		"reason":              {"reason", plain},
		"scheduler":           {"scheduler", plain},
		"submitted_at":        {"submitted_at", instant},
		"complete":            {"complete", flag},
		"complete_at":         {"complete_at", instant},
		"results":             {"results", number},
		"parent_buildid":      {"parent_build_id", optional},
		"parent_step":         {"parent_step", optional},
		"parent_relationship": {"parent_relationship", plain},
		"rebuilt_buildid":     {"rebuilt_build_id", optional},
		"ssid":                {"SELECT buildset_id FROM buildset_sourcestamps WHERE sourcestamp_id", linked},
	}},
	"buildrequests": {"buildrequests", "buildrequestid", map[string]column{
		"buildrequestid":      {"id", number},
		"buildsetid":          {"buildset_id", number},
		"builderid":           {"builder_id", number},
		"priority":            {"priority", number},
		"claimed":             {"claimed", flag},
		"claimed_at":          {"claimed_at", instant},
		"claimed_by_masterid": {"claimed", optional}, // the only master's id is 1
		"complete":            {"complete", flag},
		"complete_at":         {"complete_at", instant},
		"results":             {"results", number},
		"submitted_at":        {"submitted_at", instant},
		"waited_for":          {"waited_for", flag},
		"retries":             {"retries", number},
	}},
	"builds": {"builds", "buildid", map[string]column{
		"buildid":          {"id", number},
		"number":           {"number", number},
		"builderid":        {"builder_id", number},
		"buildrequestid":   {"request_id", optional},
		"workerid":         {"worker_id", number},
		"masterid":         {"1", number},
		"started_at":       {"started_at", instant},
		"complete_at":      {"complete_at", instant},
		"complete":         {"complete", flag},
		"locks_duration_s": {"locks_duration", number},
		"state_string":     {"state_string", plain},
		"results":          {"results", running},
		"generation":       {"generation", number},
	}},
	"steps": {"steps", "stepid", map[string]column{
		"stepid":            {"id", number},
		"number":            {"number", number},
		"name":              {"name", plain},
		"buildid":           {"build_id", number},
		"started_at":        {"started_at", instant},
		"locks_acquired_at": {"locks_acquired_at", instant},
		"complete":          {"complete", flag},
		"complete_at":       {"complete_at", instant},
		"state_string":      {"state_string", plain},
		"results":           {"results", running},
		"hidden":            {"hidden", flag},
	}},
	"logs": {"logs", "logid", map[string]column{
		"logid":     {"id", number},
		"name":      {"name", plain},
		"slug":      {"slug", plain},
		"stepid":    {"step_id", number},
		"buildid":   {"build_id", number},
		"complete":  {"complete", flag},
		"num_lines": {"num_lines", number},
		"type":      {"type", plain},
	}},
}
