package run

import (
	"strings"

	"buildstar/config"
	"buildstar/config/prop"
)

// summarize returns the state string of a build that ended.
func summarize(result config.Result, text []string, e *ending) string {
	words := text
	switch {
	case result == config.Success:
		words = append([]string{"build successful"}, words...)
	case e != nil && e.result == result:
		words = []string{result.String() + " (" + e.reason + ")"}
	case len(words) == 0:
		words = []string{"build " + result.String()}
	case result == config.Failure:
		words = append([]string{"failed"}, words...)
	default:
		words = append([]string{result.String()}, words...)
	}
	return clip(strings.Join(words, " "), 1024)
}

// clip shortens a state string to about n bytes, at the border of a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}

// inSummary reports whether a step's text becomes part of the build's
// (updateBuildSummaryPolicy, docs/requirements.md C4).
func inSummary(c *Common, result config.Result) bool {
	switch p := c.UpdateBuildSummaryPolicy.(type) {
	case bool:
		return p
	case []any:
		for _, v := range p {
			if v == int64(result) {
				return true
			}
		}
		return false
	}
	switch result {
	case config.Exception, config.Retry, config.Cancelled:
		return true
	case config.Failure:
		return c.FlunkOnFailure || c.HaltOnFailure || c.WarnOnFailure
	case config.Warnings:
		return c.WarnOnWarnings || c.FlunkOnWarnings
	}
	return false
}

// stateOf returns a step's state string once it ended: what it did, and how that
// went unless it went well.
func stateOf(text string, result config.Result, extra string) string {
	if extra != "" {
		text += " (" + extra + ")"
	}
	if result != config.Success {
		text += " (" + result.String() + ")"
	}
	return text
}

// CommandText returns a short description of a command, as a step's default
// description: 'make all' or 'make -j ...'.
func CommandText(command any) string {
	words := Words(command)
	if len(words) == 0 {
		return "???"
	}
	text := strings.Join(words, " ")
	if fields := strings.Fields(text); len(fields) > 2 {
		text = fields[0] + " " + fields[1] + " ..."
	} else {
		text = strings.Join(fields, " ")
	}
	return "'" + clip(text, 80) + "'"
}

// Words returns the words of a command: a string is one, nested lists are
// flattened. Values that are no strings are left out.
func Words(command any) []string {
	switch v := command.(type) {
	case string:
		return []string{v}
	case []any:
		var words []string
		for _, e := range v {
			words = append(words, Words(e)...)
		}
		return words
	}
	return nil
}

var _ prop.Props = (*Running)(nil)
