package cmd

import (
	"flag"
	"io"
	"log/slog"
	"os"
)

// logFlags are the flags of every command that runs for long.
type logFlags struct{ verbose, json bool }

func (l *logFlags) declare(fs *flag.FlagSet) {
	fs.BoolVar(&l.verbose, "v", false, "log more: every connection, command and decision")
	fs.BoolVar(&l.json, "json", false, "log one JSON object a line")
}

// logger returns a logger to w. Times are left out when something else stamps the
// lines: systemd's journal does.
func (l *logFlags) logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: slog.LevelInfo}
	if l.verbose {
		opts.Level = slog.LevelDebug
	}
	if l.json {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	stamped := os.Getenv("JOURNAL_STREAM") != ""
	opts.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if a.Key != slog.TimeKey || len(groups) > 0 {
			return a
		}
		if stamped {
			return slog.Attr{}
		}
		return slog.String(slog.TimeKey, a.Value.Time().Format("2006-01-02T15:04:05"))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// isTerminal reports whether w is a terminal: only then are colours used.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
