package prop

// A Refusal ends a user's function on purpose: fail_to_substantiate and
// cannot_substantiate (docs/requirements.md A9.5, A9.6).
type Refusal struct {
	Text string
	// Cannot says that what was asked for is at fault, not the infrastructure.
	Cannot bool
}

func (r *Refusal) Error() string { return r.Text }
