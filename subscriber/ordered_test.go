package subscriber

import (
	"context"
	"errors"
	"testing"
	"time"

	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/outcome"
)

// What is stored of a line's first delivery says how its latest attempt failed,
// whether there was an answer or none.
func TestOrderedHeadFailure(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]outcome.Result{
		"5xx: 500 Internal Server Error":     {Class: outcome.Class5xx, Status: 500},
		"timeout: context deadline exceeded": {Class: outcome.ClassTimeout, Err: context.DeadlineExceeded},
		"connect: refused":                   {Class: outcome.ClassConnect, Err: errors.New("refused")},
	} {
		var env wire.Envelope
		note(&env, r)
		if got := headOf(&env, time.Time{}).Failure(); got != want {
			t.Errorf("failure() of %+v = %q, want %q", r, got, want)
		}
	}
	if got := (state.Head{Status: 500}).Failure(); got != "status 500" {
		t.Errorf("failure() of what an older version stored = %q", got)
	}
}
