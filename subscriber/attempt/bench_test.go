package attempt

import (
	"bytes"
	"context"
	"testing"

	"fanjet/internal/benchreceiver"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"

	"github.com/nats-io/nats.go"
)

// BenchmarkAttempt makes attempts on 64 slots of one endpoint. cpu-ns/op is
// what they cost this process; the receiver is another one.
func BenchmarkAttempt(b *testing.B) {
	url, stop, err := benchreceiver.Start("")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { stop() })
	ep := testEndpoint(b, url, loopback, func(e *endpoint.Settings) { e.MaxInFlight = 64 })
	body := append([]byte(`{"type":"order.created","pad":"`), bytes.Repeat([]byte("abcdefgh"), 124)...)
	body = append(body, `"}`...)
	header := nats.Header{"Nats-Msg-Id": {"order-1"}}
	ctx, cancel := context.WithCancelCause(b.Context())
	defer cancel(nil)
	attempts := func(more func() bool) {
		env := &wire.Envelope{EventID: "msg_2b7v4hd3mxo5g6kq7wz3ya5ruc", Subject: "events.order.created", Attempt: 1}
		for more() {
			ep.Attempt(ctx, env, header, body, func(r outcome.Result) {
				if r.Class != outcome.Class2xx {
					b.Errorf("%+v", r)
				}
			})
		}
	}
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	before := benchreceiver.CPU()
	b.RunParallel(func(pb *testing.PB) { attempts(pb.Next) })
	b.ReportMetric(float64(benchreceiver.CPU()-before)/float64(b.N), "cpu-ns/op")
}
