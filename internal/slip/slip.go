// Package slip finds what a name that is not known was most likely meant to be.
package slip

import (
	"slices"
	"strings"
)

// Of returns the candidate that word is most likely a slip of, "" if none is
// close.
func Of(word string, candidates []string) string {
	const maxWord = 64 // nothing that long is a slip of a name of ours
	if len(word) > maxWord {
		return ""
	}
	word = plainWord(word)
	best, bestDistance := "", len(word)/3+1
	for _, candidate := range candidates {
		if d := editDistance(word, plainWord(candidate)); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// plainWord makes maxInFlight, max-in-flight and max_in_flight one word.
func plainWord(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
}

// editDistance is the number of characters to insert, delete or replace, or of
// neighbours to swap, that turns a into b.
func editDistance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}

// DidYouMean is the end of a message about a name that is not known: what it is
// most likely a slip of, or what there is if that is not much.
func DidYouMean(word string, candidates []string) string {
	candidates = slices.Sorted(slices.Values(candidates))
	if best := Of(word, candidates); best != "" {
		return "; did you mean " + best + "?"
	}
	const maxListed = 20
	switch {
	case len(candidates) == 0:
		return ""
	case len(candidates) > maxListed:
		return ""
	}
	return "; known here: " + strings.Join(candidates, ", ")
}
