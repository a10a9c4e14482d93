package wire

import (
	"testing"

	"github.com/nats-io/nats.go"
)

// BenchmarkFanout makes the headers of one delivery of an event.
func BenchmarkFanout(b *testing.B) {
	event := nats.Header{nats.MsgIdHdr: {"order-1"}, "Content-Type": {"application/json"}}
	b.ReportAllocs()
	for b.Loop() {
		e := Envelope{
			EventID: EventID(event, nil, position, false), Key: Key(KindEvent, position, "billing"), Endpoint: "billing",
			Subject: "events.order.created", Source: position.Source(), Accepted: stored, Attempt: 1,
		}
		h := EventHeaders(event)
		e.WriteTo(h)
		h[nats.MsgIdHdr] = []string{position.FanoutID("billing")}
	}
}

func BenchmarkReadEnvelope(b *testing.B) {
	h := nats.Header{nats.MsgIdHdr: {"order-1"}, "Content-Type": {"application/json"}}
	(&Envelope{
		EventID: EventID(nil, nil, position, false), Key: Key(KindEvent, position, "billing"), Endpoint: "billing",
		Subject: "events.order.created", Source: position.Source(), Accepted: stored, Attempt: 1,
	}).WriteTo(h)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadEnvelope(h); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEventID(b *testing.B) {
	for name, h := range map[string]nats.Header{
		"message id": {nats.MsgIdHdr: {"order-1"}, "Content-Type": {"application/json"}},
		"CloudEvent": {"ce-source": {"/shop"}, "ce-id": {"A-1"}, "ce-type": {"order.created"}, "ce-specversion": {"1.0"}},
		"position":   nil,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				EventID(h, nil, position, false)
			}
		})
	}
}

func BenchmarkKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Key(KindEvent, position, "billing")
	}
}
