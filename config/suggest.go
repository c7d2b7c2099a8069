package config

import "strings"

// nearest is the candidate that name was most likely meant to be, or "": the
// same letters otherwise punctuated, the same last part in another section, or
// at most a quarter of the letters mistyped.
func nearest(name string, candidates []string) string {
	const longest = 64 // no key is half as long; bounds the work on a hostile file
	if len(name) > longest {
		return ""
	}
	name = strings.ToLower(name)
	best, least := "", max(1, len(name)/4)+1
	for _, c := range candidates {
		low := strings.ToLower(c)
		if squash(low) == squash(name) {
			return c
		}
		d := distance(name, low)
		if leaf(low) == leaf(name) {
			d = min(d, 1)
		}
		if d < least {
			best, least = c, d
		}
	}
	return best
}

func squash(s string) string { return strings.NewReplacer("_", "", "-", "", ".", "").Replace(s) }

func leaf(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }

// distance is the optimal string alignment distance: insert, delete, replace
// or swap two neighbours, each at the price of one.
func distance(a, b string) int {
	row := func() []int { return make([]int, len(b)+1) }
	before, prev, cur := row(), row(), row()
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
