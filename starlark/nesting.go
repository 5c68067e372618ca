package starlark

import "bytes"

const (
	// maxNesting is how deep brackets may be nested.
	maxNesting = 200
	// maxElifs is how many elifs a file may have: each is a level of the tree.
	maxElifs = 5_000
	// maxChain is how many operators, calls and the like one expression may chain.
	maxChain = 20_000
)

// tooDeep returns where an expression begins to be so deep that the recursive
// parser or compiler might overflow the stack, which no Go program survives, or
// -1. It counts in each open bracket the tokens that make trees deeper: operators,
// calls, conditions. A comma, semicolon or assignment begins another tree.
func tooDeep(text []byte) int {
	chain := make([]int, 1, maxNesting+1)
	total, elifs := 0, 0
	deeper := func() bool {
		chain[len(chain)-1]++
		total++
		return total > maxChain
	}
	reset := func() {
		total -= chain[len(chain)-1]
		chain[len(chain)-1] = 0
	}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '#':
			i = skipLine(text, i)
			continue
		case c == '\'' || c == '"':
			i = skipString(text, i)
			continue
		case c == '(' || c == '[' || c == '{':
			if deeper() || len(chain) > maxNesting {
				return i
			}
			chain = append(chain, 0)
		case c == ')' || c == ']' || c == '}':
			if reset(); len(chain) > 1 {
				chain = chain[:len(chain)-1]
			}
		case c == ',' || c == ';' || c == '=' && !comparison(text, i):
			reset()
		case c == '\n':
			if len(chain) == 1 {
				reset()
			}
		case bytes.IndexByte([]byte("+-*/%~|&^<>=!."), c) >= 0:
			if deeper() {
				return i
			}
		case letter(c):
			end := i
			for end < len(text) && (letter(text[end]) || text[end] >= '0' && text[end] <= '9') {
				end++
			}
			switch string(text[i:end]) {
			case "elif":
				if elifs++; elifs > maxElifs {
					return i
				}
			case "not", "lambda", "if", "else", "for", "and", "or", "in":
				if deeper() {
					return i
				}
			}
			i = end
			continue
		}
		i++
	}
	return -1
}

func letter(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// comparison reports whether the = at i is part of == != <= >=.
func comparison(text []byte, i int) bool {
	return i+1 < len(text) && text[i+1] == '=' || i > 0 && bytes.IndexByte([]byte("=!<>"), text[i-1]) >= 0
}

func skipLine(text []byte, i int) int {
	if n := bytes.IndexByte(text[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(text)
}

// skipString returns the end of the string literal at i; one without an end ends
// with its line.
func skipString(text []byte, i int) int {
	quote := text[i]
	if triple := bytes.Repeat([]byte{quote}, 3); bytes.HasPrefix(text[i:], triple) {
		for j := i + 3; j < len(text); j++ {
			switch {
			case text[j] == '\\':
				j++
			case bytes.HasPrefix(text[j:], triple):
				return j + 3
			}
		}
		return len(text)
	}
	for j := i + 1; j < len(text); j++ {
		switch text[j] {
		case '\\':
			j++
		case quote:
			return j + 1
		case '\n':
			return j
		}
	}
	return len(text)
}
