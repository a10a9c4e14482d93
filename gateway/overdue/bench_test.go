package overdue

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// BenchmarkOverdue measures what it costs to read a schedule once, and what a look
// costs when all are known.
func BenchmarkOverdue(b *testing.B) {
	const schedules = 20_000
	srv := natstest.Start(b, natstest.Options{})
	js := srv.JetStream()
	w := newWatch(b, js)
	w.opts.After = lateAfter
	names := w.names
	at := "@at " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)
	for i := range schedules {
		m := &nats.Msg{Subject: names.RetrySubject("a", fmt.Sprint(i)), Header: nats.Header{jetstream.ScheduleHeader: {at}, wire.HeaderScheduleTarget: {names.DueSubject("a")}}, Data: make([]byte, 1<<10)}
		if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	now, last := time.Now().Add(time.Minute), uint64(schedules)
	b.Run("read", func(b *testing.B) {
		w.startAnew()
		for range b.N {
			if w.next > last {
				w.startAnew()
			}
			if err := w.read(b.Context(), now, last, &budget{reads: 1, until: time.Now().Add(time.Hour)}); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := w.read(b.Context(), now, last, &budget{reads: schedules, until: time.Now().Add(time.Hour)}); err != nil {
		b.Fatal(err)
	}
	b.Run("look", func(b *testing.B) {
		for range b.N {
			if _, err := w.look(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
