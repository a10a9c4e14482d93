package gateway

import (
	"net/http"
	"testing"

	"fanjet/gateway/match"
)

// direct is a world whose gateways deliver directly.
func newDirect(t *testing.T) *world {
	w := newWorld(t)
	w.cfg.Delivery.Direct = true
	return w
}

// What is delivered at once is not stored.
func TestDirectStoresNothing(t *testing.T) {
	t.Parallel()
	w := newDirect(t)
	w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(t, w.hook, "b"))
	w.cfg.Subscriptions = append(w.cfg.Subscriptions, match.Subscription{Name: "b", Subjects: []string{"events.>"}, Endpoints: []string{"b"}})
	w.start()
	w.publishMany("events.x", 2000)
	w.delivered("a", 2000)
	w.delivered("b", 2000)
	w.quiet()
	if n := w.metric("fanjet_stored_deliveries_total"); n > 0 {
		mfs, _ := w.gw.opts.Registry.Gather()
		for _, mf := range mfs {
			if mf.GetName() == "fanjet_stored_deliveries_total" {
				for _, m := range mf.GetMetric() {
					if v := m.GetCounter().GetValue(); v > 0 {
						t.Log(m.GetLabel()[0].GetValue(), v)
					}
				}
			}
		}
		t.Errorf("%v deliveries were stored", n)
	}
	if n := len(w.hook.all()); n != 4000 {
		t.Errorf("%d requests", n)
	}
	w.checkNoOverlap()
}

// A failed attempt goes on as a schedule, with its number.
func TestDirectFailureIsRetried(t *testing.T) {
	t.Parallel()
	w := newDirect(t)
	w.hook.set(func(r request) int {
		if r.attempt != "3" {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	w.start()
	w.publishMany("events.x", 5)
	w.delivered("a", 5)
	w.quiet()
	if n := len(w.hook.all()); n != 15 {
		t.Errorf("%d requests, want 15", n)
	}
	w.checkNoOverlap()
}
