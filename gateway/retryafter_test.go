package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"fanjet/internal/audit"
	"fanjet/internal/control"
	"fanjet/subscriber/endpoint"
)

// A Retry-After that cannot be meant holds nobody.
func TestAbsurdRetryAfterHoldsNobody(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"Unix time":       fmt.Sprint(time.Now().Add(time.Minute).Unix()),
		"in ms":           fmt.Sprint(time.Now().Add(time.Minute).UnixMilli()),
		"two days":        "172800",
		"date, in a week": time.Now().Add(7 * 24 * time.Hour).UTC().Format(http.TimeFormat),
		"date, yesterday": time.Now().Add(-24 * time.Hour).UTC().Format(http.TimeFormat),
		"negative":        "-3600",
		"text":            "when it suits you",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.hook.after = value
			first := true
			w.hook.set(func(request) int {
				if first {
					first = false
					return http.StatusTooManyRequests
				}
				return http.StatusOK
			})
			w.start()
			const n = 10
			w.publishMany("events.x", n)
			w.exactly("a", n)
			if s := statusIn(w.gw, "a"); s.State == endpoint.StateBackingOff {
				t.Errorf("%+v", s)
			}
		})
	}
}

// What an endpoint asked for holds it in every gateway that was answered so. The
// list says until when, a ping tests it, a resume ends it.
func TestResumeLiftsRetryAfter(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprint("ordered ", ordered), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.endpoints(endpointFor(t, w.hook, "busy", func(e *endpoint.Settings) { e.Ordered = ordered }))
			w.hook.after = "7200" // an hour, at most
			w.answers("busy", http.StatusServiceUnavailable)
			w.start()
			_, stopOther := w.run(5 * time.Second)
			defer stopOther()
			state, err := control.OpenState(t.Context(), w.js, w.gw.names)
			if err != nil {
				t.Fatal(err)
			}
			operator := control.NewOperator(control.Options{
				JetStream: w.js, Names: w.gw.names, State: state, Endpoints: func() []endpoint.Settings { return w.cfg.Endpoints },
			})
			by := audit.Actor{Via: audit.ViaCLI, Name: "ann"}
			held := func() (gateways int) {
				reports, _, err := control.Statuses(t.Context(), w.nats.Conn(), w.gw.names, "busy")
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range reports {
					for _, s := range r.Statuses {
						if s.State == endpoint.StateBackingOff {
							gateways++
						}
					}
				}
				return gateways
			}
			want := 2
			if ordered {
				want = 1 // its line is in the hands of one
			}
			events := 0
			w.waitFor("the gateways hold it", func() bool {
				w.publish("events.x", "{}", nil)
				events++
				return held() == want
			})
			views, err := operator.Endpoints(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			v := views[0]
			until := v.Next.UTC().Format(time.RFC3339)
			if v.State != endpoint.StateBackingOff || time.Until(v.Next) < 50*time.Minute || time.Until(v.Next) > time.Hour ||
				v.Reason != "asked with Retry-After, status 503: nothing is sent until "+until {
				t.Errorf("%+v", v)
			}
			w.hook.set(nil)
			ping, err := operator.Ping(t.Context(), by, "busy", 10*time.Second)
			if err != nil || !ping.OK() {
				t.Errorf("ping: %+v, %v", ping, err)
			}
			if pings := len(w.hook.got("busy")); pings != 1 || held() != want {
				t.Errorf("after a ping, %d were accepted, and %d gateways hold it", pings, held())
			}
			report, err := operator.Resume(t.Context(), by, "busy", "", false)
			if err != nil || !report.Changed || report.Pause != nil || len(report.Lifted) != 1 || report.Lifted[0].Gateways != want ||
				report.Lifted[0].State != endpoint.StateBackingOff || !strings.Contains(report.Lifted[0].Reason, "until "+until) {
				t.Errorf("resume: %+v, %v", report, err)
			}
			if n := held(); n != 0 {
				t.Errorf("%d gateways hold it after the resume", n)
			}
			// A delivery that was answered so itself waits for its own time, unless it is
			// the first of a line.
			deliverable := events - w.failures("busy")
			if ordered {
				deliverable = events
			}
			w.delivered("busy", 1+deliverable)
			again, err := operator.Resume(t.Context(), by, "busy", "", false)
			if err != nil || again.Changed {
				t.Errorf("resume once more: %+v, %v", again, err)
			}
		})
	}
}
