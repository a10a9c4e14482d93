package slip

import (
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	t.Parallel()
	known := []string{"timeout", "retry", "max_in_flight", "url", "on_exhausted"}
	for word, want := range map[string]string{
		"timeot": "timeout", "tiemout": "timeout", "Timeout": "timeout", "maxInFlight": "max_in_flight", "max-inflight": "max_in_flight",
		"retrys": "retry", "uri": "url", "urls": "url", "colour": "", "a": "", "": "", "zzzzzzz": "",
		strings.Repeat("timeout", 20): "",
	} {
		if got := Of(word, known); got != want {
			t.Errorf("Of(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"abc", ""}: 3, {"", "abc"}: 3, {"abc", "abc"}: 0, {"abc", "abd"}: 1, {"abc", "acb"}: 1, {"abc", "bc"}: 1,
		{"kitten", "sitting"}: 3, {"bücher", "bucher"}: 1,
	} {
		if got := editDistance(pair[0], pair[1]); got != want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", pair[0], pair[1], got, want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"biling": "; did you mean billing?",
		"x":      "; known here: billing, crm",
	} {
		if got := DidYouMean(word, []string{"crm", "billing"}); got != want {
			t.Errorf("DidYouMean(%q) = %q, want %q", word, got, want)
		}
	}
	if got := DidYouMean("x", nil); got != "" {
		t.Errorf("DidYouMean of nothing = %q", got)
	}
}
