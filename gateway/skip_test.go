package gateway

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fanjet/gateway/source"
	"fanjet/internal/audit"
	"fanjet/internal/control"
	"fanjet/subscriber/endpoint"
)

func (w *world) operator() *control.Operator {
	w.Helper()
	return control.NewOperator(control.Options{
		JetStream: w.js, Names: w.gw.names, State: w.state(), Endpoints: func() []endpoint.Settings { return w.cfg.Endpoints },
	})
}

var ann = audit.Actor{Via: audit.ViaCLI, Name: "ann"}

// Events that an operator skips are not fanned out, beside a gateway that runs and
// without one; all others are.
func TestSkippedEventsAreNotFannedOut(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running %v", running), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.start()
			w.numbered(1, 5)
			w.delivered("a", 5)
			w.cursorReaches(5)
			w.stop()
			var matches atomic.Pointer[source.Matcher]
			next, err := New(Options{Config: w.cfg, Registry: prometheus.NewRegistry(), Grace: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			next.observe = matches.Store
			if running {
				w.gw, w.stop = next, w.launch(next)
			}
			w.pauseMatching(time.Hour)
			w.numbered(6, 15)
			report, err := w.operator().SkipEvents(t.Context(), ann, control.EventsSkip{Source: "EVENTS", To: 12, Reason: "a load test"})
			if err != nil || report.From != 6 || report.To != 12 || report.Events != 7 || report.AuditError != "" {
				t.Fatalf("%+v, %v", report, err)
			}
			if running {
				w.waitFor("the gateway has noticed", func() bool {
					return matches.Load().FannedOut() == 12
				})
			} else {
				w.gw, w.stop = next, w.launch(next)
			}
			w.pauseMatching(-time.Hour)
			w.delivered("a", 8)
			w.cursorReaches(15)
			w.quiet()
			want := map[string]int{"13": 1, "14": 1, "15": 1}
			for i := 1; i <= 5; i++ {
				want[fmt.Sprint(i)] = 1
			}
			w.checkBodies(want)
			if n := w.metric("fanjet_events_skipped_total", "EVENTS"); n != 7 || w.missed() != 0 {
				t.Errorf("%v events are counted as skipped, %v as missed; want 7 and 0", n, w.missed())
			}
		})
	}
}

// A cursor moves forward only, within its stream, and each skip is recorded.
func TestSkipRefusesWhatItCannotSkip(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.numbered(1, 5)
	w.delivered("a", 5)
	w.cursorReaches(5)
	w.stop()
	w.numbered(6, 10)
	o := w.operator()
	for name, to := range map[string]uint64{"backward": 3, "what is fanned out": 5, "past the end": 11} {
		if report, err := o.SkipEvents(t.Context(), ann, control.EventsSkip{Source: "EVENTS", To: to}); !errors.Is(err, control.ErrNothingToPass) {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
	if report, err := o.SkipEvents(t.Context(), ann, control.EventsSkip{Source: "NONE", To: 1}); err == nil {
		t.Errorf("of no stream: %+v", report)
	}
	// Of a sequence that is not there any more, the event before it counts.
	stream, err := w.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		report, err := o.SkipEvents(t.Context(), ann, control.EventsSkip{Source: "EVENTS", To: 7, DryRun: dry})
		if err != nil || report.From != 6 || report.DryRun != dry {
			t.Errorf("dry %v: %+v, %v", dry, report, err)
		}
	}
	if report, err := o.SkipEvents(t.Context(), ann, control.EventsSkip{Source: "EVENTS", To: 7}); !errors.Is(err, control.ErrNothingToPass) {
		t.Errorf("a second time: %+v, %v", report, err)
	}
	var recorded []string
	for r, err := range audit.New(w.js, w.gw.names).List(t.Context(), audit.Filter{Action: audit.SkipEvents}) {
		if err != nil {
			t.Fatal(err)
		}
		recorded = append(recorded, fmt.Sprintf("%s %s %s %s %v", r.Actor.Name, r.Target, r.Detail, r.Result, r.DryRun))
	}
	if want := "[ann EVENTS events 6 to 7 ok false ann EVENTS events 6 to 7 started false ann EVENTS events 6 to 7 ok true]"; fmt.Sprint(recorded) != want {
		t.Errorf("recorded: %v, want %s", recorded, want)
	}
	w.start()
	w.delivered("a", 8)
	w.quiet()
	w.checkBodies(map[string]int{"1": 1, "2": 1, "3": 1, "4": 1, "5": 1, "8": 1, "9": 1, "10": 1})
}
