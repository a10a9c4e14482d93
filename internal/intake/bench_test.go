package intake

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// What it costs to receive and settle a message, server included: of a fresh one,
// and of one that is reported in progress because it is old.
func BenchmarkReceive(b *testing.B) {
	for name, age := range map[string]time.Duration{"fresh": 0, "old": time.Hour} {
		b.Run(name, func(b *testing.B) {
			server := natstest.Start(b, natstest.Options{})
			js := server.JetStream()
			stream, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := stream.CreateConsumer(b.Context(), jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10_000}); err != nil {
				b.Fatal(err)
			}
			body := make([]byte, 1024)
			for range b.N {
				if _, err := js.PublishAsync("s", body, jetstream.WithStallWait(time.Minute)); err != nil {
					b.Fatal(err)
				}
			}
			<-js.PublishAsyncComplete()
			var left sync.WaitGroup
			left.Add(b.N)
			in := New(Options{
				Conn: server.Conn(), Stream: "S", Consumer: "c", Beat: 3 * time.Second,
				Open:       func(context.Context) error { return nil },
				Handle:     func(m *Message) { m.Ack(); left.Done() },
				ServerTime: func() time.Time { return time.Now().Add(age) },
			})
			ctx, cancel := context.WithCancel(context.Background())
			b.ReportAllocs()
			b.ResetTimer()
			var running sync.WaitGroup
			running.Go(func() { in.Run(ctx) })
			left.Wait()
			if err := in.Flush(ctx); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			cancel()
			running.Wait()
		})
	}
}
