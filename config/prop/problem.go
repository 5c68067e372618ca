package prop

import (
	"fmt"
	"strings"
)

// A Problem is one thing that is wrong with a configuration, as a person should
// read it. Code is stable and short ("duplicate-name"): tests, documents and the
// page link to it.
type Problem struct {
	Code    string `json:"code"`
	Pos     Pos    `json:"pos"`
	Subject string `json:"subject,omitempty"` // what was being declared: `worker.Worker "bot1"`
	Param   string `json:"param,omitempty"`   // the parameter at fault, if one is
	Text    string `json:"text"`
	Hint    string `json:"hint,omitempty"`   // what to do instead, a whole sentence or a name
	Source  string `json:"source,omitempty"` // the source line at Pos
	Chain   []Pos  `json:"chain,omitempty"`  // the calls that led to Pos, innermost first
}

// Problems is every problem of one evaluation, sorted by position. It is the
// error that loading a configuration returns.
type Problems []Problem

// Error returns one line a problem; the starlark package renders them with
// source lines and carets.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%v: ", p.Pos)
		if p.Subject != "" {
			fmt.Fprintf(&b, "%s: ", p.Subject)
		}
		if p.Param != "" {
			fmt.Fprintf(&b, "%s: ", p.Param)
		}
		fmt.Fprintf(&b, "%s [%s]", p.Text, p.Code)
	}
	return b.String()
}
