package prop

import "fmt"

// Pos is a place in a configuration file. Line and Col count from 1, Col in
// characters; the zero Pos is "nowhere".
type Pos struct {
	File string `json:"file"` // relative to the directory of master.star
	Line int    `json:"line"`
	Col  int    `json:"col"`
}

// String returns file:line:col.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// IsValid reports whether p names a place.
func (p Pos) IsValid() bool { return p.Line > 0 }
