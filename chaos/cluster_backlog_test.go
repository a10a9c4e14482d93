package chaos

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

// The backlog of an endpoint that takes its time.
const (
	patients    = 40
	patientTime = 4 * time.Second
	ackWait     = 10 * time.Second // of the consumers of deliveries
)

// patient is that endpoint, with room for all of its backlog in each gateway.
func patient() string {
	return fmt.Sprintf(`
  patient: {url: "http://HOOK/patient", max_in_flight: %d}
subscriptions:
  - {name: patient, subjects: [events.patient], endpoints: [patient]}
`, patients)
}

// patientKind says who must get an event for it.
func patientKind(n int) kind {
	k := kind{subject: "events.patient", endpoints: []string{"steady", "patient"}}
	if n%2 == 1 {
		k.endpoints = append(k.endpoints, "flaky")
	}
	return k
}

// gather lets a backlog wait for the patient endpoint. It returns when it is stored.
func (r *replicated) gather() (stored time.Time) {
	r.Helper()
	r.operate("pause")
	r.until("all gateways know of the pause", func() bool { return r.pausedAt() == gateways })
	before := r.laned()
	r.visits.publish(patients)
	r.until("the backlog is stored", func() bool { return r.laned() >= before+patients })
	return time.Now()
}

// laned returns how many deliveries wait in the lane of the patient endpoint.
func (r *replicated) laned() (n int) {
	r.Helper()
	names := wire.NewNames(wire.DefaultPrefix)
	r.until("the lanes are counted", func() bool {
		stream, err := r.js.Stream(r.Context(), names.LanesStream())
		if err != nil {
			return false
		}
		info, err := stream.Info(r.Context(), jetstream.WithSubjectFilter(names.LaneSubject("patient")))
		if err == nil {
			n = int(info.State.Subjects[names.LaneSubject("patient")])
		}
		return err == nil
	})
	return n
}

// operate pauses or resumes the patient endpoint.
func (r *replicated) operate(verb string) {
	r.Helper()
	r.until("the operator is heard", func() bool {
		_, err := r.gateways[0].run(nil, "endpoints", verb, "patient")
		return err == nil
	})
}

// pausedAt returns how many gateways know that the patient endpoint is paused.
func (r *replicated) pausedAt() (n int) {
	out, err := r.gateways[0].run(nil, "endpoints", "show", "patient", "-o", "json")
	if err != nil {
		return 0
	}
	var view struct {
		Replicas []struct {
			Status struct {
				State string `json:"state"`
			} `json:"status"`
		} `json:"replicas"`
	}
	if err := json.Unmarshal(out, &view); err != nil {
		r.Errorf("fanjet endpoints show: %v", err)
	}
	for _, replica := range view.Replicas {
		if replica.Status.State == "paused" {
			n++
		}
	}
	return n
}

// release lets the backlog out to its receiver, once it is older than what the
// server waits for an acknowledgement, and changes all leaders while all of it is
// under way: nobody sends any of it twice.
func (r *replicated) release(stored time.Time) {
	r.Helper()
	r.until("the backlog is old", func() bool { return time.Since(stored) > ackWait+time.Second })
	before, waiting := r.hooks.count("patient"), r.laned()
	r.hooks.set("patient", slow(patientTime))
	r.operate("resume")
	r.until("all of the backlog is under way", func() bool { return r.hooks.count("patient") >= before+waiting })
	r.pause(lastMoment)
	r.stepDown()
	r.until("the patient endpoint has nothing to do", func() bool { return r.hooks.atWork("patient") == 0 })
	if n := r.hooks.count("patient") - before; n != waiting {
		r.Errorf("the patient endpoint got %d requests for %d deliveries", n, waiting)
	}
}
