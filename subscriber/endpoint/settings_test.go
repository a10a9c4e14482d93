package endpoint

import (
	"testing"
	"time"
)

// A wait is spread evenly around what the schedule says: a large random number makes
// it longer.
func TestRetryWait(t *testing.T) {
	t.Parallel()
	r := Retry{Schedule: []time.Duration{time.Second, time.Minute}, Jitter: 0.2}
	for _, tt := range []struct {
		attempt int
		random  float64
		want    time.Duration
	}{
		{1, 0.5, time.Second},
		{2, 0.5, time.Minute},
		{2, 0, 48 * time.Second},
		{2, 0.25, 54 * time.Second},
		{2, 0.75, 66 * time.Second},
	} {
		if got := r.Wait(tt.attempt, tt.random); got != tt.want {
			t.Errorf("after attempt %d with %v: %v, want %v", tt.attempt, tt.random, got, tt.want)
		}
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rate  Rate
		limit float64
		burst int
		lull  time.Duration
	}{
		{Rate{Count: 100, Per: time.Second}, 100, 100, 1010 * time.Millisecond},
		{Rate{Count: 90, Per: time.Minute}, 1.5, 1, time.Second + time.Minute/90},
		{Rate{Count: 6, Per: time.Minute}, 0.1, 1, 11 * time.Second},
	} {
		if limit, burst, lull := float64(tt.rate.Limit()), tt.rate.Burst(), tt.rate.Lull(); limit != tt.limit || burst != tt.burst || lull != tt.lull {
			t.Errorf("%+v: limit %v, burst %d, lull %v", tt.rate, limit, burst, lull)
		}
	}
}

// The wait for a probe is doubled with each miss, up to the longest one.
func TestCircuitWait(t *testing.T) {
	t.Parallel()
	c := Circuit{Probe: 5 * time.Second, MaxProbe: time.Minute}
	for misses, want := range []time.Duration{5, 10, 20, 40, 60, 60} {
		if got := c.Wait(misses); got != want*time.Second {
			t.Errorf("after %d misses: %v, want %ds", misses, got, want)
		}
	}
	if got := (Circuit{Probe: time.Minute, MaxProbe: time.Second}).Wait(3); got != time.Minute {
		t.Errorf("a longest wait below the first one: %v", got)
	}
}
