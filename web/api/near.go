package api

import (
	"fmt"

	"buildstar/config/prop"
)

// suggest returns ` (did you mean "x"?)` for the nearest name there is, or "" if
// none is near.
func suggest(name string, names []string) string {
	near := prop.Nearest(name, names)
	if near == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", near)
}
