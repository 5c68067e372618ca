package worker

import (
	"errors"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// errno returns the number of the system's error in err, which is the rc of the file
// commands, and its text as the C library has it. The number is 1 if there is none.
func errno(err error) (int, string) {
	var n syscall.Errno
	if !errors.As(err, &n) {
		return 1, err.Error()
	}
	text := n.Error()
	r, size := utf8.DecodeRuneInString(text)
	return int(n), string(unicode.ToUpper(r)) + text[size:]
}
