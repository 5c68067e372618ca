package libvirt

import (
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"buildstar/latent"
)

// newConsole makes the file that libvirt adds the output of a domain's first serial port to. It is
// made here because the one that libvirt makes is for root only.
func newConsole(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// maxConsole is how much of a console is looked at, in bytes: a system in trouble may print
// for ever.
const maxConsole = 1 << 20

// lastLines is how much of a console the end of a domain is explained with.
const lastLines = 100

// lastOf says what a domain printed last, to follow a sentence.
func lastOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		_, err = f.Seek(max(0, end-maxConsole), io.SeekStart)
		if err != nil {
			return ""
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxConsole))
	lines := strings.Split(strings.TrimSpace(printable(string(text))), "\n")
	if err != nil || lines[0] == "" {
		return ", and printed nothing on its serial port"
	}
	return "; its last lines:\n" + strings.Join(lines[max(0, len(lines)-lastLines):], "\n")
}

// printable drops what is for terminals only.
func printable(s string) string {
	var out strings.Builder
	escape := false
	for _, r := range s {
		switch {
		case r == '\x1b':
			escape = true
		case escape: // until the letter that ends it
			escape = r < '@' || r == '['
		case r == '\n' || r == '\t' || r >= ' ' && r != '\x7f':
			out.WriteRune(r)
		}
	}
	return out.String()
}

// follow logs what a domain prints until the start is settled.
func follow(path string, in latent.Launch) {
	f, err := os.Open(path)
	if err != nil {
		in.Log("read console: " + err.Error() + "\n")
		return
	}
	defer f.Close()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	buf := make([]byte, 16<<10)
	rest := "" // of a line
	for total := 0; total < maxConsole; {
		n, err := f.Read(buf)
		total += n
		text := rest + string(buf[:n])
		end := strings.LastIndexByte(text, '\n') + 1
		if rest = text[end:]; end > 0 {
			in.Log(consoleLines(text[:end]))
		}
		if err != nil && !errors.Is(err, io.EOF) {
			in.Log("read console: " + err.Error() + "\n")
			return
		}
		if n > 0 {
			continue
		}
		select {
		case <-tick.C:
		case <-in.Settled:
			return
		}
	}
	in.Log("console: there is more in " + path + "\n")
}

// consoleLines begins each line that says something.
func consoleLines(text string) string {
	var out strings.Builder
	for line := range strings.Lines(printable(text)) {
		if strings.TrimSpace(line) != "" {
			out.WriteString("console: " + line)
		}
	}
	return out.String()
}
