package overdue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// codeNotLast is what a publish is refused with that expects another message to
// be the last one of its subject.
const codeNotLast jetstream.ErrorCode = 10071

// schedule is a retry that waits in the stream.
type schedule struct {
	seq       uint64
	stored    time.Time // by the server's clock
	due       time.Time // the zero time: it is none of ours
	attempted time.Time // the latest attempt, by the clock of the gateway that made it

	message *jsapi.Message
	header  nats.Header
}

// errFired means that a schedule is not there any more: it has fired, or was
// replaced.
var errFired = errors.New("the schedule has fired")

// schedule returns the first one from a sequence on, or [jsapi.ErrNoMessage].
func (w *Watch) schedule(ctx context.Context, from uint64) (*schedule, error) {
	m, err := jsapi.Of(w.opts.JetStream).Next(ctx, w.names.RetriesStream(), w.names.RetrySubject("*", "*"), from)
	if errors.Is(err, jsapi.ErrNoMessage) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the stream %s: %w", w.names.RetriesStream(), err)
	}
	return readSchedule(m), nil
}

// readSchedule reads a message of the stream of retries, whatever it is.
func readSchedule(m *jsapi.Message) *schedule {
	s := &schedule{seq: m.Sequence, stored: m.Time, message: m}
	header, err := m.Header()
	if err != nil {
		return s
	}
	s.header = header
	s.due, s.attempted = readTimes(header)
	return s
}

// farOff is a time at which nothing of ours is ever due; times from then on do
// not fit into 64 bits of nanoseconds.
var farOff = time.Date(2200, time.January, 1, 0, 0, 0, 0, time.UTC)

// readTimes reads when a schedule is due, and when the latest attempt was made;
// the zero times if it is none that can be set anew.
func readTimes(h nats.Header) (due, attempted time.Time) {
	at, ok := strings.CutPrefix(h.Get(jetstream.ScheduleHeader), "@at ")
	if !ok || h.Get(wire.HeaderScheduleTarget) == "" {
		return time.Time{}, time.Time{}
	}
	due, err := time.Parse(time.RFC3339Nano, at)
	if err != nil || due.Before(time.Unix(0, 0)) || due.After(farOff) {
		return time.Time{}, time.Time{}
	}
	if last, err := time.Parse(time.RFC3339Nano, h.Get(wire.HeaderLastAttempt)); err == nil {
		attempted = last
	}
	return due, attempted
}

// setAnew publishes a schedule again, for another time or the same, as it is
// otherwise. It returns the sequence of the new one, or [errFired]: then nothing
// was published. A message id would be that of the first one, and get the second
// one thrown away.
func (w *Watch) setAnew(ctx context.Context, s *schedule, at time.Time) (uint64, error) {
	h := wire.HopHeaders(s.header)
	h[jetstream.ScheduleHeader] = []string{"@at " + at.UTC().Format(time.RFC3339Nano)}
	h[wire.HeaderScheduleTarget] = s.header[wire.HeaderScheduleTarget]
	ack, err := w.opts.JetStream.PublishMsg(ctx, &nats.Msg{Subject: s.message.Subject, Header: h, Data: s.message.Data},
		jetstream.WithExpectStream(w.names.RetriesStream()), jetstream.WithExpectLastSequencePerSubject(s.seq))
	if jsapi.IsCode(err, codeNotLast) {
		return 0, errFired
	}
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}
