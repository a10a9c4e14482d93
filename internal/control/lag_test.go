package control

import (
	"errors"
	"testing"
	"time"

	"fanjet/internal/audit"
	"fanjet/internal/natstest"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// operatorAt is an operator who is connected to one server.
func operatorAt(t *testing.T, nc *nats.Conn) *Operator {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	state, err := OpenState(t.Context(), js, names)
	if err != nil {
		t.Fatal(err)
	}
	return NewOperator(Options{JetStream: js, Names: names, State: state, Endpoints: func() []endpoint.Settings {
		return []endpoint.Settings{{Name: "billing"}}
	}})
}

// What one operator did, the next command shows, whichever server of a cluster it
// asks: endpoints, their pauses, and the record of it.
func TestPauseIsTrueOnEveryServer(t *testing.T) {
	t.Parallel()
	cluster := natstest.StartCluster(t)
	js := cluster.JetStream()
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: names.StateBucket(), Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	for name, subject := range map[string]string{
		names.LanesStream(): names.LaneSubject("*"), names.RetriesStream(): names.DueSubject("*"),
		names.DeadLettersStream(): names.DeadLetterSubject("*"), names.AuditStream(): names.AuditSubject("*", "*"),
	} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Replicas: 3, AllowDirect: true}); err != nil {
			t.Fatal(err)
		}
	}
	leader, follower := cluster.Lag(js, "KV_"+names.StateBucket(), "$KV."+names.StateBucket()+".probe")
	ann, bob := operatorAt(t, leader), operatorAt(t, follower)
	for range 5 {
		shows := func(state endpoint.State, changed bool) {
			t.Helper()
			view, err := bob.Endpoint(t.Context(), "billing")
			if !errors.Is(err, ErrNoGateway) || view.State != state || (view.Pause != nil) != (state == endpoint.StatePaused) {
				t.Errorf("it shows %+v, %v; want the state %s", view, err, state)
			}
			paused, err := bob.Paused(t.Context())
			if _, ok := paused["billing"]; err != nil || ok != (state == endpoint.StatePaused) {
				t.Errorf("paused are %v, %v; want the state %s", paused, err, state)
			}
			// What is so already changes nothing.
			var again PauseReport
			if state == endpoint.StatePaused {
				again, err = bob.Pause(t.Context(), audit.Actor{Via: audit.ViaCLI, Name: "bob"}, "billing", "")
			} else {
				again, err = bob.Resume(t.Context(), audit.Actor{Via: audit.ViaCLI, Name: "bob"}, "billing", "", false)
			}
			if err != nil || again.Changed != changed {
				t.Errorf("done again: %+v, %v", again, err)
			}
		}
		if _, err := ann.Pause(t.Context(), audit.Actor{Via: audit.ViaCLI, Name: "ann"}, "billing", "why"); err != nil {
			t.Fatal(err)
		}
		shows(endpoint.StatePaused, false)
		if report, err := ann.Resume(t.Context(), audit.Actor{Via: audit.ViaCLI, Name: "ann"}, "billing", "", false); err != nil || !report.Changed {
			t.Fatalf("%+v, %v", report, err)
		}
		view, err := bob.Endpoint(t.Context(), "billing")
		if !errors.Is(err, ErrNoGateway) || view.LastResume == nil || time.Since(view.LastResume.At) > time.Minute {
			t.Errorf("it shows %+v, %v; want the resume", view, err)
		}
		shows(StateUnknown, false)
	}
}

// A gateway that has not heard yet that a pause has ended is asked again.
func TestResumeIsShownAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		late int // answers that still say paused
		want endpoint.State
	}{
		"hears of it a moment later": {2, endpoint.StateHealthy},
		"does not hear of it":        {1 << 30, endpoint.StatePaused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := natstest.Start(t, natstest.Options{})
			js := srv.JetStream()
			if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: names.StateBucket()}); err != nil {
				t.Fatal(err)
			}
			for name, subject := range map[string]string{
				names.LanesStream(): names.LaneSubject("*"), names.RetriesStream(): names.DueSubject("*"), names.DeadLettersStream(): names.DeadLetterSubject("*"),
			} {
				if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
					t.Fatal(err)
				}
			}
			asked := 0
			gateway := srv.Connect()
			if _, err := gateway.Subscribe(names.ControlEndpointsSubject(), func(m *nats.Msg) {
				status := endpoint.Status{Endpoint: "billing", State: endpoint.StateHealthy}
				if asked++; asked <= test.late {
					status.State = endpoint.StatePaused
				}
				parts, err := Parts(Replica{ID: "one"}, []endpoint.Status{status}, 8<<10)
				if err == nil {
					err = m.Respond(parts[0])
				}
				if err != nil {
					t.Error(err)
				}
			}); err != nil {
				t.Fatal(err)
			}
			if err := gateway.Flush(); err != nil {
				t.Fatal(err)
			}
			view, err := operatorAt(t, srv.Conn()).Endpoint(t.Context(), "billing")
			if err != nil || view.State != test.want {
				t.Errorf("it shows %+v, %v; want the state %s", view, err, test.want)
			}
		})
	}
}
