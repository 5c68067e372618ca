// Package spec turns Go structs into Starlark callables: one struct per thing a
// user can name, declared once.
//
// A [Class] names a callable and makes its struct. The struct's fields are its
// parameters:
//
//	type localWorker struct {
//		// Name identifies the worker.
//		Name string `star:"name"`
//		// MaxBuilds is how many builds may run at once; 0 is no limit.
//		MaxBuilds int `star:"max_builds,optional" min:"0"`
//		// When says when to clean up.
//		When string `star:"when,optional" oneof:"always|never"`
//	}
//
// Tags. The first word of `star` is the name; then `optional` (the value that New
// put there is the default), `kw` (only by keyword) and `secret`. Fields without a tag and
// with "-" are no parameters. Embedded structs are flattened where they stand;
// `star:",kw"` on an embedded struct makes all of its fields keyword-only.
// `star:"*"` on a slice takes further positional arguments, `star:"**"` on a map
// further keyword arguments. `min` and `max` bound numbers and durations (in
// seconds), `oneof` lists the allowed strings, and `nofunc:"1"` says that Buildbot
// takes a function here but this master does not yet. `hint` is what to write
// instead of a value of a wrong type. The values of what is `secret`, or a
// [prop.Password], are shown nowhere.
//
// Types. string, bool, int, int64, float64; time.Duration (seconds or "10m");
// slices, maps with string keys, and pointers (None is nil) of these; any (a
// property value); whatever has Set([prop.Renderable]) error, which is every
// [prop.Template]; [prop.Renderable] itself; whatever has FromValue(any) error;
// [star.Value] and [star.Callable] as they are; and the Go values that other
// classes made, matched by assignability: *config.Worker, config.Step, []config.Step.
// None for an optional parameter means that it was not given, unless its type
// knows None.
//
// A struct may have methods that binding calls: SetPos([prop.Pos]) with the place
// of the call (or a field Where of that type), then Make(*[Call]) any, which
// returns the value of the call, usually a config node. Without Make the struct
// pointer is the value. Make reports what is wrong with [Call.Problem].
//
// A call that had problems returns a [Placeholder] and evaluation goes on. A
// placeholder accepts everything that is done to it, and what it flows into
// becomes a placeholder too, so that one mistake gives one message.
package spec
