package outcome

import (
	"slices"
	"testing"
)

// Which answers speak of the event is a list of the 4xx that do not: those would be
// given to any event. 423, for example, says that the address is locked.
func TestSpeaksOfEvent(t *testing.T) {
	t.Parallel()
	ofEndpoint := []int{401, 402, 403, 404, 405, 407, 408, 410, 411, 414, 417, 421, 423, 424, 425, 426, 429, 431, 451}
	for status := 0; status <= 999; status++ {
		want := status >= 400 && status <= 499 && !slices.Contains(ofEndpoint, status)
		if got := SpeaksOfEvent(status); got != want {
			t.Errorf("%d speaks of the event: %v, want %v", status, got, want)
		}
	}
}
