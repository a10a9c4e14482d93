package intake

import (
	"context"
	"time"
)

// A message comes again when its consumer's AckWait is over. A server that was
// restarted, or became the leader of the consumer, counts that from when the
// message was stored, unless the delivery was reported in progress: then from the
// latest report, which is replicated and survives (nats-server 2.15.3:
// consumer.deliverMsg writes the stored time down, progressUpdate the present one).
// So every message is reported when that time is a beat away at the latest: what
// is older when it is received, at once. Fresh ones that are settled soon cost no
// report.

// Beat reports held messages in progress until ctx ends. It must run as long
// as anything is held, so beyond the end of [Intake.Run].
func (in *Intake) Beat(ctx context.Context) {
	tick := time.NewTicker(in.opts.Beat / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			in.BeatOnce(now)
		}
	}
}

// BeatOnce reports the held messages in progress whose beat is due. It does
// once what [Intake.Beat] does all the time, for a caller who has many intakes;
// call it four times as often as the beat.
func (in *Intake) BeatOnce(now time.Time) {
	if !in.opts.Conn.IsConnected() {
		return // they would fill the buffer that acks need; they stay due
	}
	for _, reply := range in.due(nil, now, in.opts.Beat) {
		in.report(reply)
	}
}

// beatAll reports all held messages. The gateway that has them may have changed:
// a server that is new to it counts from what it knows.
func (in *Intake) beatAll() {
	if !in.opts.Conn.IsConnected() {
		return
	}
	for _, reply := range in.due(nil, time.Now(), 0) {
		in.report(reply)
	}
}

// report says that a message is in progress. When that is lost the next beat
// comes soon.
func (in *Intake) report(reply string) { _ = in.opts.Conn.Publish(reply, ackProgress) }

// due returns where to report the messages whose latest beat is that long ago, and
// counts them as beaten.
func (in *Intake) due(due []string, now time.Time, since time.Duration) []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, l := range [...]*list{&in.beats, &in.young} {
		for m := l.front(); m != nil && now.Sub(m.beaten) >= since && !m.beaten.Equal(now); m = l.front() {
			m.lapsed = m.lapsed || in.lapses(m, now)
			if in.beat(m, now); !m.lapsed {
				due = append(due, m.reply)
			}
		}
	}
	return due
}

// beat counts a message as reported. The caller holds mu.
func (in *Intake) beat(m *Message, now time.Time) {
	m.beaten = now
	m.waits.remove(m)
	m.waits = &in.beats
	m.waits.pushBack(m)
}
