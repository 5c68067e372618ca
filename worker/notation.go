package worker

import (
	"strconv"
	"strings"
	"time"

	"buildstar/config/prop"
)

// The stock worker's headers show values as Python writes them and commands as a shell
// would read them. People and scripts read those headers, so ours look the same.

// wordsRepr returns words as Python writes a list of them.
func wordsRepr(words []string) string {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	return prop.Repr(list)
}

// shellQuote returns words as a shell would have to be given them.
func shellQuote(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		safe := w != "" && strings.IndexFunc(w, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("@%+=:,./-_", r))
		}) < 0
		if !safe {
			w = "'" + strings.ReplaceAll(w, "'", `'"'"'`) + "'"
		}
		quoted[i] = w
	}
	return strings.Join(quoted, " ")
}

// plainSeconds returns d as the number of seconds a master gave.
func plainSeconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

// secondsWord returns "1 sec", "2 secs".
func secondsWord(d time.Duration) string {
	if d == time.Second {
		return "1 sec"
	}
	return plainSeconds(d) + " secs"
}
