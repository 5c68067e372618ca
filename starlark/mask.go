package starlark

import (
	"bytes"
	"regexp"
)

// masked returns the text of a file with * for every letter of what may be a
// password, so that source lines can be shown to anybody. It reads tokens, not the
// tree: a file that does not parse is shown too. Known are passwords that the
// evaluation saw.
func masked(text string, known map[string]bool) string {
	m := masker{text: []byte(text), out: []byte(text), known: known, open: make([]bracket, 1)}
	for i := 0; i < len(text); {
		i = m.token(i)
	}
	return string(bytes.ReplaceAll(m.out, []byte{0}, nil))
}

type masker struct {
	text  []byte
	out   []byte
	known map[string]bool
	open  []bracket // innermost last
	word  string    // the name or string before this token
}

// A bracket is an open bracket, or the file.
type bracket struct {
	call   string // what is called: worker.Worker
	first  int    // where the first string in it begins, or 0
	arg    int    // commas seen
	name   string // of the argument or key: password
	dict   bool
	secret bool // all of it is a value of a secret argument
}

var (
	secretName = regexp.MustCompile(`(?i)pass?w|pwd|^pw$|secret|token|privatekey|credential`)
	workerCall = regexp.MustCompile(`(?:Worker|Slave)$`)
	// secretFree is what takes the name of a password first, not the password.
	secretFree = regexp.MustCompile(`^(?:env|util\.Secret|load|read_file)$`)
)

// hides reports whether a string that stands here may be a password.
func (b *bracket) hides() bool {
	switch {
	case secretFree.MatchString(b.call) && b.arg == 0:
		return false
	case b.name != "":
		return b.secret || secretName.MatchString(b.name)
	case b.dict: // a key
		return false
	}
	return b.secret || b.arg == 1 && workerCall.MatchString(b.call)
}

// token reads the token at i and returns its end.
func (m *masker) token(i int) int {
	in := &m.open[len(m.open)-1]
	switch c := m.text[i]; {
	case c == '#':
		return skipLine(m.text, i)
	case c == '\'' || c == '"':
		return m.literal(in, i)
	case letter(c):
		end := i
		for end < len(m.text) && (letter(m.text[end]) || m.text[end] == '.' || '0' <= m.text[end] && m.text[end] <= '9') {
			end++
		}
		m.word = string(m.text[i:end])
		return end
	case '0' <= c && c <= '9':
		end := i
		for end < len(m.text) && '0' <= m.text[end] && m.text[end] <= '9' {
			end++
		}
		if in.hides() {
			m.hide(i, end)
		}
		return end
	case c == '(' || c == '[' || c == '{':
		index := c == '[' && m.word != "" // passwords["w1"]: the key is none
		b := bracket{secret: in.hides() && !index, dict: c == '{'}
		if c == '(' {
			b.call = m.word
		}
		m.open = append(m.open, b)
		m.word = ""
	case c == ')' || c == ']' || c == '}':
		if len(m.open) > 1 {
			m.open = m.open[:len(m.open)-1]
		}
		m.word = ""
	case c == '=' || c == ':':
		in.name, m.word = m.word, ""
	case c == ',':
		in.arg++
		in.name, m.word = "", ""
	case c == '\n' && len(m.open) == 1:
		*in, m.word = bracket{}, ""
	}
	return i + 1
}

// literal reads the string at i. One that is not closed may have swallowed a
// password: then nothing after the first string of the call is shown.
func (m *masker) literal(in *bracket, i int) int {
	end := skipString(m.text, i)
	quote := 1
	if bytes.HasPrefix(m.text[i:], bytes.Repeat(m.text[i:i+1], 3)) {
		quote = 3
	}
	if in.first == 0 {
		in.first = i
	}
	closed := end-i >= 2*quote && m.text[end-1] == m.text[i]
	switch {
	case !closed && (in.hides() || workerCall.MatchString(in.call)):
		m.hide(min(in.first+1, i), end)
	case closed:
		value := string(m.text[i+quote : end-quote])
		if in.hides() || m.known[value] {
			m.hide(i+quote, end-quote)
		}
		m.word = value
	}
	return end
}

// hide keeps the columns: a caret below the line still points to its letter.
func (m *masker) hide(from, to int) {
	for i := from; i < to; i++ {
		switch c := m.out[i]; {
		case c == '\n' || c == '\r':
		case c >= 0x80 && c < 0xc0: // the rest of a letter
			m.out[i] = 0
		default:
			m.out[i] = '*'
		}
	}
}
