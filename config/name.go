package config

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxName is how many characters the name of a worker may have (docs/requirements.md B0).
const MaxName = 50

// CheckIdentifier returns what is wrong with the name of a worker or a force
// scheduler: it must begin with a letter, _ or -, and go on with these and
// digits. Every character from U+00A0 on counts as a letter.
func CheckIdentifier(name string) error {
	if name == "" {
		return errors.New("the name is empty")
	}
	if !utf8.ValidString(name) {
		return errors.New("the name is not valid UTF-8")
	}
	for i, r := range name {
		switch {
		case r == '_', r == '-', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', r >= 0xA0:
		case '0' <= r && r <= '9':
			if i == 0 {
				return errors.New("a name cannot begin with a digit")
			}
		default:
			return fmt.Errorf("%q cannot be in a name: use letters, digits, _ and -", r)
		}
	}
	return nil
}
