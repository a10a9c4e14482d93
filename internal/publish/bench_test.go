package publish

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// BenchmarkCommit publishes batches of some sizes, one commit after the other.
func BenchmarkCommit(b *testing.B) {
	for _, sync := range []bool{true, false} {
		for _, size := range []int{1, 2, 8, 32, 128, 1000} {
			b.Run(fmt.Sprintf("sync=%v/batch=%d", sync, size), func(b *testing.B) {
				s := natstest.Start(b, natstest.Options{SyncAlways: sync})
				_, err := s.JetStream().CreateStream(b.Context(), jetstream.StreamConfig{
					Name: "S", Subjects: []string{"s.*"}, AllowAtomicPublish: true, Discard: jetstream.DiscardNew,
				})
				if err != nil {
					b.Fatal(err)
				}
				p := New(Options{Conn: s.Conn(), Stream: "S"})
				defer p.Close()
				items := make([]item, size)
				n := 0
				for b.Loop() {
					for i := range items {
						n++
						items[i] = item{msg: &nats.Msg{Subject: "s.a", Data: make([]byte, 1024), Header: nats.Header{nats.MsgIdHdr: {fmt.Sprint(n)}}}}
					}
					if err := p.try(items); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msgs/s")
			})
		}
	}
}
