package main

import (
	"bytes"
	"testing"
	"time"
)

// The measurements are made with real processes, small. What they say about
// speed is not looked at, only that they end and that every pair is accounted
// for.
func small() setup {
	return setup{Tier: "1s", Events: 40, Size: 256, InFlight: 8, Timeout: 3 * time.Minute, Scrape: 100 * time.Millisecond}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		kind     string
		replicas int
		plan     plan
	}{
		{"bare loop", bareLoopKind, 0, evenPlan(3, 1, 8)},
		{"gateway", gatewayKind, 0, evenPlan(3, 2, 8)},
		{"gateways beside a server", gatewayKind, 2, evenPlan(1, 1, 8)},
		{"gateway with a sick endpoint", gatewayKind, 0, sickPlan(2, []string{behave500, behaveDrip, behaveBody}, time.Second)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := small()
			s.Replicas = test.replicas
			f, err := drain(t.Context(), test.kind, s, test.plan)
			if err != nil {
				t.Fatal(err)
			}
			if f.total() != 0 {
				t.Errorf("%+v", f.faults)
			}
			if f.PerSecond <= 0 || f.CPUPer10k <= 0 {
				t.Errorf("nothing was measured: %+v", f)
			}
		})
	}
}

func TestDrainReportsWhatIsMissing(t *testing.T) {
	t.Parallel()
	// One endpoint answers nobody, and is expected to be healthy.
	p := sickPlan(1, []string{behaveHang}, time.Second)
	w, err := open(t.Context(), gatewayKind, small(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	events := published(w.Events, p.Subjects)
	if err := w.arrived(t.Context(), events[0]); err != nil {
		t.Fatal(err)
	}
	got, err := w.report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	events[0]++ // as if one more had been accepted
	if f := audit(p, events, got); f != (faults{Missing: 1}) {
		t.Errorf("%+v", f)
	}
}

func TestSteadyRun(t *testing.T) {
	t.Parallel()
	by := steadyLoad{Rate: 20, Duration: time.Second, Warmup: 100 * time.Millisecond}
	for _, kind := range []string{bareLoopKind, gatewayKind} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			run, err := runSteady(t.Context(), kind, small(), evenPlan(2, 1, 8), by)
			if err != nil {
				t.Fatal(err)
			}
			if run.total() != 0 || run.Wait.Count == 0 || run.PerSecond <= 0 {
				t.Errorf("%+v", run)
			}
		})
	}
}

func TestScale(t *testing.T) {
	t.Parallel()
	s := scaleSetup{setup: small(), Configured: 20, Active: 10, Settle: 100 * time.Millisecond, Wide: 3}
	i, err := idle(t.Context(), s)
	if err != nil || i.ScrapeBytes == 0 || i.LoadMillis <= 0 {
		t.Errorf("%+v, %v", i, err)
	}
	w, err := wide(t.Context(), s)
	if err != nil || w.total() != 0 || w.Later.Count != 2 {
		t.Errorf("%+v, %v", w, err)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	newTable(&out, 5, "what", "ratio").row("a", two(0.5))
	if want := "what     ratio\na         0.50\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}
