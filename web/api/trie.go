package api

import "strings"

// trie finds the sockets whose patterns match a key, in time that does not depend
// on how many sockets or patterns there are.
type trie struct {
	words   map[string]*trie
	star    *trie // "*": any one word
	sockets map[*socket]struct{}
}

// add registers a socket for a pattern.
func (t *trie) add(pattern string, s *socket) {
	for word := range strings.SplitSeq(pattern, "/") {
		next := t.star
		if word != "*" {
			next = t.words[word]
		}
		if next == nil {
			next = &trie{}
			if word == "*" {
				t.star = next
			} else {
				if t.words == nil {
					t.words = map[string]*trie{}
				}
				t.words[word] = next
			}
		}
		t = next
	}
	if t.sockets == nil {
		t.sockets = map[*socket]struct{}{}
	}
	t.sockets[s] = struct{}{}
}

// remove takes a socket's pattern away, and the branches that nobody needs.
func (t *trie) remove(pattern string, s *socket) {
	word, rest, more := strings.Cut(pattern, "/")
	next := t.star
	if word != "*" {
		next = t.words[word]
	}
	if next == nil {
		return
	}
	if more {
		next.remove(rest, s)
	} else {
		delete(next.sockets, s)
	}
	if len(next.sockets)+len(next.words) > 0 || next.star != nil {
		return
	}
	if word == "*" {
		t.star = nil
	} else {
		delete(t.words, word)
	}
}

// match calls fn for each pattern that matches the key; a socket with several such
// patterns is given several times.
func (t *trie) match(key string, fn func(*socket)) {
	word, rest, more := strings.Cut(key, "/")
	for _, next := range [...]*trie{t.words[word], t.star} {
		if next == nil {
			continue
		}
		if more {
			next.match(rest, fn)
			continue
		}
		for s := range next.sockets {
			fn(s)
		}
	}
}
