package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
)

// picky is an endpoint whose circuit opens soon, whose deliveries expire soon,
// and which gets few attempts at once.
func picky(e *endpoint.Settings) {
	e.MaxInFlight = 4
	e.Retry = endpoint.Retry{Schedule: slices.Repeat([]time.Duration{time.Second}, 3), MaxAge: 20 * time.Second}
	e.Circuit = endpoint.Circuit{Failures: 10, Probe: time.Second, MaxProbe: 2 * time.Second}
}

// What an endpoint answers to some events is no verdict on itself: the others
// are attempted while it answers, and those that it accepts are delivered.
func TestVerdictsOnEvents(t *testing.T) {
	t.Parallel()
	const bad, good = 60, 5
	outage := 15                                          // requests
	for name, status := range map[string]func(n int) int{ // of the nth bad event
		"400":                        func(int) int { return http.StatusBadRequest },
		"409":                        func(int) int { return http.StatusConflict },
		"422 and a status of no RFC": func(n int) int { return []int{422, 499}[n%2] },
		"500 and 422 by turns":       func(n int) int { return []int{500, 422}[n%2] },
		"503 for a while, then 413": func(int) int {
			if outage--; outage >= 0 { // one at a time
				return http.StatusServiceUnavailable
			}
			return http.StatusRequestEntityTooLarge
		},
		"500":                   func(int) int { return http.StatusInternalServerError },
		"500, then 422":         func(n int) int { return []int{500, 422}[min(n/30, 1)] },
		"422, then 500":         func(n int) int { return []int{422, 500}[min(n/30, 1)] },
		"500 and 422 by chance": func(n int) int { return []int{500, 422}[n*n%7%2] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.endpoints(endpointFor(t, w.hook, "a", picky))
			w.hook.set(func(r request) int {
				var n int
				if _, err := fmt.Sscanf(r.subject, "events.bad.%d", &n); err == nil {
					return status(n)
				}
				return http.StatusOK
			})
			w.start()
			for n := range bad {
				w.publish(fmt.Sprintf("events.bad.%d", n), "{}", nil)
			}
			w.publishMany("events.good", good)
			w.exactly("a", good)
			for _, l := range w.letters(bad) {
				if l.Attempts == 0 || !strings.HasPrefix(l.Subject, "events.bad.") {
					t.Errorf("%s: %s after %d attempts", l.Subject, l.Reason, l.Attempts)
				}
			}
			w.exactly("a", good)
		})
	}
}
