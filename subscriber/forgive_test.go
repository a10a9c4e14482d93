package subscriber

import (
	"testing"
	"time"

	"fanjet/internal/intake"
	"fanjet/subscriber/attempt"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/gate"
)

// Who has waited because the process stood still is not slow.
func TestStandstillSendsNobodyAway(t *testing.T) {
	t.Parallel()
	settings := endpoint.Settings{Name: "a", MaxInFlight: 1}
	e := &member{name: "a", target: &attempt.Target{Settings: settings}, gate: gate.New(&settings), listed: true}
	f := &fastLane{busy: []*member{e}}
	e.fast = f
	for range 3 {
		e.queue = append(e.queue, &delivery{ep: e, msg: received(&intake.Message{}), since: noon.Add(-time.Minute)})
	}
	e.queue[2].since = noon.Add(-time.Second) // after it went on
	e.shared = len(e.queue)
	f.forgive(time.Minute-100*time.Millisecond, noon)
	s, here := e.stands(noon)
	p := f.newPatience(noon, []standing{s, {latency: 0.001}})
	if !here || s.wait != 100*time.Millisecond || p.exhausted(&s) {
		t.Errorf("it has waited %s, here: %v", s.wait, here)
	}
	if got := e.queue[2].since; got.After(noon) {
		t.Errorf("it begins to wait %s from now", got.Sub(noon))
	}
}
