package prop

import "strings"

// Nearest returns the name that a user most likely meant by name, or "" if none
// is near: at most a third of its letters differ, and not all, or it is the only one
// that begins with them. Case, underscores and
// hyphens do not count. Earlier names win ties.
func Nearest(name string, among []string) string {
	const longest = 100 // nobody misspells longer names
	if name == "" || len(name) > longest {
		return ""
	}
	folded := fold(name)
	best, bestAt := "", min((len(folded)+2)/3+1, max(len(folded), 1))
	for _, other := range among {
		if len(other) > longest || other == name {
			continue
		}
		if d := distance(folded, fold(other), bestAt); d < bestAt {
			best, bestAt = other, d
		}
	}
	if best == "" && len(folded) >= 4 {
		return beginning(folded, among)
	}
	return best
}

// beginning returns the only name that begins with what was written, or "".
func beginning(folded string, among []string) string {
	found := ""
	for _, other := range among {
		if f := fold(other); len(f) > len(folded) && strings.HasPrefix(f, folded) {
			if found != "" {
				return ""
			}
			found = other
		}
	}
	return found
}

func fold(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s))
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to make b of a. It may stop at limit.
func distance(a, b string, limit int) int {
	if abs(len(a)-len(b)) >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

func abs(n int) int { return max(n, -n) }
