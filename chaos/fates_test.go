package chaos

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"

	"fanjet/internal/ledger"
)

// fate is what an endpoint answers to an event. It depends on nothing but the two,
// and on how often the endpoint answered it before, so that what becomes of the
// event depends neither on time nor on what is broken: who never accepts never
// does, and who does accepts long before the attempts of a schedule are used up,
// however many of them a fault repeats.
type fate struct {
	status  int // while it does not accept; 0: no answer
	refuses int // how often; below 0: always
	outcome ledger.Outcome
}

func allEndpoints() []string { return []string{"plain", "wavy", "line", "slow", "dying"} }

// shares are how many of a hundred events meet what at an endpoint; the rest is
// accepted at once.
type shares struct{ recovers, hangsUp, exhausts, rejected, gone int }

func sharesOf(endpoint string) shares {
	return map[string]shares{
		"plain": {recovers: 6, hangsUp: 2, exhausts: 1, rejected: 1},
		"wavy":  {recovers: 40, hangsUp: 4, exhausts: 3, rejected: 3},
		"line":  {recovers: 15, hangsUp: 2, exhausts: 3, rejected: 4},
		"slow":  {recovers: 8, hangsUp: 2, rejected: 3},
		"dying": {recovers: 10, hangsUp: 2, exhausts: 12, rejected: 40, gone: 4},
	}[endpoint]
}

// goesTo are the endpoints of the plan that get an event.
func (p plan) goesTo(n int) []string {
	var out []string
	for _, endpoint := range p.endpoints {
		if p.lot(100, "goes to", n, endpoint) < 45 {
			out = append(out, endpoint)
		}
	}
	return out
}

// fate is what an endpoint answers to an event.
func (p plan) fate(n int, endpoint string) fate {
	of, lot := sharesOf(endpoint), p.lot(100, "fate", n, endpoint)
	statuses := []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusBadRequest}
	status := statuses[p.lot(len(statuses), "status", n, endpoint)]
	for _, one := range []struct {
		share int
		fate
	}{
		{of.recovers, fate{status, 1 + p.lot(3, "refuses", n, endpoint), ledger.Accepted}},
		{of.hangsUp, fate{0, 1, ledger.Accepted}},
		{of.exhausts, fate{status, -1, "exhausted"}},
		{of.rejected, fate{http.StatusUnprocessableEntity, -1, "rejected"}},
		{of.gone, fate{http.StatusGone, -1, "rejected"}}, // three in a row pause the endpoint besides
	} {
		if lot -= one.share; lot < 0 {
			return one.fate
		}
	}
	return fate{outcome: ledger.Accepted}
}

// outcomes is what must become of an event.
func (p plan) outcomes(n int) map[string]ledger.Outcome {
	out := make(map[string]ledger.Outcome)
	for _, endpoint := range p.goesTo(n) {
		out[endpoint] = p.fate(n, endpoint).outcome
	}
	return out
}

// destiny has the receivers answer as the plan says.
type destiny struct {
	plan plan

	mu       sync.Mutex
	answered map[string]map[int]int // how often, by endpoint and event
}

func newDestiny(p plan) *destiny {
	d := &destiny{plan: p, answered: map[string]map[int]int{}}
	for _, endpoint := range p.endpoints {
		d.answered[endpoint] = map[int]int{}
	}
	return d
}

// numberOf is that of an event by its body, -1 for none.
func numberOf(body []byte) int {
	var event struct {
		N int `json:"n"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return -1
	}
	return event.N
}

// at is how an endpoint behaves.
func (d *destiny) at(endpoint string) behaviour {
	return func(a arrival) int {
		n := numberOf(a.body)
		if !slices.Contains(d.plan.goesTo(n), endpoint) {
			return http.StatusOK // the ledger tells
		}
		f := d.plan.fate(n, endpoint)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.answered[endpoint][n]++
		if f.refuses < 0 || d.answered[endpoint][n] <= f.refuses {
			return f.status
		}
		return http.StatusOK
	}
}
