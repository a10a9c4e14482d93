package publish

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// BenchmarkCommit publishes some messages at a time, either way, and waits for
// them. cpu-µs/msg is what the process used, the server included.
func BenchmarkCommit(b *testing.B) {
	ways := map[string]func(*Publisher, []item) error{
		"batch":   (*Publisher).tryBatch,
		"singles": func(p *Publisher, items []item) error { _, err := p.trySingles(items); return err },
	}
	for _, sync := range []bool{true, false} {
		for way, try := range ways {
			for _, size := range []int{1, 2, 8, 32, 128, 1000} {
				if way == "batch" && size == 1 {
					continue
				}
				b.Run(fmt.Sprintf("sync=%v/%s=%d", sync, way, size), func(b *testing.B) {
					benchCommit(b, sync, size, try)
				})
			}
		}
	}
}

func benchCommit(b *testing.B, sync bool, size int, try func(*Publisher, []item) error) {
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
	began := cpuTime()
	b.ReportAllocs()
	for b.Loop() {
		for i := range items {
			n++
			items[i] = item{
				msg:  &nats.Msg{Subject: "s.a", Data: make([]byte, 1024), Header: nats.Header{nats.MsgIdHdr: {fmt.Sprint(n)}}},
				done: ignore{},
			}
		}
		if err := try(p, items); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime()-began).Microseconds())/float64(n), "cpu-µs/msg")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msgs/s")
}

type ignore struct{}

func (ignore) Published(error) {}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
