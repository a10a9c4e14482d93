package broker

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// A cluster whose servers are still starting is waited for; one that is too small
// is not.
func TestTransientPlacement(t *testing.T) {
	t.Parallel()
	for description, want := range map[string]bool{
		"no suitable peers for placement, peer offline":         true,
		"no suitable peers for placement, insufficient storage": false,
	} {
		err := fmt.Errorf("stream EVENTS: %w", &jetstream.APIError{Code: 400, ErrorCode: codeNoPeers, Description: description})
		if got := Transient(err); got != want {
			t.Errorf("%s: %v", description, got)
		}
	}
}
