package main

import (
	"testing"
	"time"
)

// The receiver is slow, so that something is in flight at the kill; it must come
// again, and be waited for.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		replicas int
		fanout   int
	}{
		{"gateway with its server", 0, 1},
		{"gateway beside a server", 1, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := small()
			s.Replicas, s.Answer = test.replicas, time.Second
			round, err := killRun(t.Context(), s, evenPlan(1, test.fanout, s.InFlight), 1)
			if err != nil {
				t.Fatal(err)
			}
			if round.Missing != 0 || round.Strange != 0 {
				t.Errorf("%+v", round.faults)
			}
			if len(round.Kills) != 1 || round.Kills[0].Open == 0 || round.Kills[0].Arrived == 0 {
				t.Fatalf("the kill met nothing in flight: %+v", round.Kills)
			}
			if round.Repeated == 0 {
				t.Errorf("nothing came twice, and %d attempts were in flight", round.Kills[0].Open)
			}
		})
	}
}

// Everything has arrived when the gateway dies, and nothing was answered.
func TestQuietWaitsForWhatADeadGatewayHeld(t *testing.T) {
	t.Parallel()
	s := small()
	s.Events, s.Replicas, s.Answer = 8, 1, 2*time.Second
	p := evenPlan(1, 1, s.InFlight)
	w, err := open(t.Context(), gatewayKind, s, p)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if err := w.arrived(t.Context(), s.Events); err != nil {
		t.Fatal(err)
	}
	w.kill()
	if err := w.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.quiet(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := w.report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f := audit(p, published(s.Events, 1), got); f != (faults{Repeated: s.Events}) {
		t.Errorf("%+v, want each of the %d twice", f, s.Events)
	}
}

func TestKillSummary(t *testing.T) {
	t.Parallel()
	r := killResult{Slots: 64, Rounds: []killRound{
		{Kills: []killPoint{{InFlight: 10}, {InFlight: 30}}, PerSecond: 100, faults: faults{Repeated: 120}},
		{Kills: []killPoint{{InFlight: 20}, {InFlight: 20}}, PerSecond: 300, faults: faults{Repeated: 8}},
	}}
	r.summarize()
	if r.RepeatsPerKill != 32 || r.PerSlot != 0.5 || r.PerInFlight != 1.6 || r.PerSecond != 200 {
		t.Errorf("%+v", r)
	}
	none := killResult{Slots: 64, Rounds: []killRound{{PerSecond: 100}}}
	none.summarize()
	if none.RepeatsPerKill != 0 || none.PerSlot != 0 || none.PerInFlight != 0 {
		t.Errorf("without a kill: %+v", none)
	}
}

func TestMeterLeavesOutPauses(t *testing.T) {
	t.Parallel()
	var m meter
	if m.perSecond() != 0 {
		t.Error("a meter that saw nothing has a rate")
	}
	for _, look := range []struct {
		at      time.Duration
		arrived int
	}{
		{0, 0},
		{50 * time.Millisecond, 0},       // not yet
		{lull, 10},                       // 10 in 100 ms
		{lull + 10*time.Millisecond, 20}, // 10 in 10 ms
		{3 * time.Second, 500},           // a pause, and whatever came at its end
		{3*time.Second + 90*time.Millisecond, 520}, // 20 in 90 ms
		{9 * time.Second, 520},
		{19 * time.Second, 521}, // the last one
	} {
		m.note(time.Unix(100, 0).Add(look.at), look.arrived)
	}
	if got := m.perSecond(); got != 200 {
		t.Errorf("%g a second, want 200", got)
	}
}

func TestGauge(t *testing.T) {
	t.Parallel()
	text := []byte("# TYPE a gauge\na_b 7\na{x=\"1\"} 8\na 9\n")
	if n, err := gauge(text, "a"); err != nil || n != 9 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := gauge(text, "b"); err == nil {
		t.Errorf("a metric that is not there is %d", n)
	}
}
