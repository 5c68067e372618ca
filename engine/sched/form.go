package sched

import (
	"maps"
	"slices"
	"strings"
)

// FieldErrors says what is wrong with a filled-in form, by full field name.
type FieldErrors struct{ Fields map[string]string }

// Error returns all of them, sorted by field.
func (e *FieldErrors) Error() string {
	lines := make([]string, 0, len(e.Fields))
	for _, f := range slices.Sorted(maps.Keys(e.Fields)) {
		lines = append(lines, f+": "+e.Fields[f])
	}
	return strings.Join(lines, "; ")
}

// Form is a force form; its JSON is Buildbot's forceschedulers row
// (docs/ui-contract.md section 6).
type Form struct {
	Name         string   `json:"name"`
	Label        string   `json:"label"`
	ButtonName   string   `json:"button_name"`
	BuilderNames []string `json:"builder_names"`
	Enabled      bool     `json:"enabled"`
	Fields       []Field  `json:"all_fields"`
}

// Field is one field of a form. Which of the optional ones are present depends on
// Type.
type Field struct {
	Name         string   `json:"name"`
	FullName     *string  `json:"fullName"`
	Label        string   `json:"label"`
	TabLabel     *string  `json:"tablabel"`
	Type         string   `json:"type"` // text, textarea, int, bool, fixed, username, list, nested
	Default      any      `json:"default"`
	Multiple     bool     `json:"multiple"`
	Regex        *string  `json:"regex"`
	Hide         bool     `json:"hide"`
	Required     bool     `json:"required"`
	MaxSize      *int64   `json:"maxsize"`
	AutoPopulate any      `json:"autopopulate"`
	Tooltip      string   `json:"tooltip"`
	Size         *int64   `json:"size,omitempty"`
	Rows         *int64   `json:"rows,omitempty"`
	Cols         *int64   `json:"cols,omitempty"`
	NeedEmail    *bool    `json:"need_email,omitempty"`
	Choices      []string `json:"choices,omitzero"`
	Strict       *bool    `json:"strict,omitempty"`
	Layout       string   `json:"layout,omitempty"`
	Columns      *int64   `json:"columns,omitempty"`
	Fields       []Field  `json:"fields,omitempty"`
}
