//go:build unix && !linux

package worker

import (
	"errors"
	"os"
)

func openTerminal() (master, slave *os.File, err error) {
	return nil, nil, errors.New("usePTY is supported on Linux only")
}
