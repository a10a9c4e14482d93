package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"fanjet/gateway/topology"
	"fanjet/internal/failpoint"
	"fanjet/internal/jsapi"
	"fanjet/internal/servertime"
	"fanjet/internal/wire"
)

const (
	truncateEvery = 500 * time.Millisecond
	// truncateStep bounds one purge, so that none holds the stream for long.
	truncateStep = 50_000
)

// truncator removes settled deliveries from the front of the delivery log: all
// below the ack floor of its one consumer. Any number of replicas may do so.
type truncator struct {
	js      jetstream.JetStream
	names   wire.Names
	want    jetstream.ConsumerConfig
	clock   *servertime.Clock
	health  *health
	removed prometheus.Counter // settled deliveries

	purged uint64 // every sequence up to it is gone
	failed bool   // the store refused the latest purge, although it may have removed something
}

func newTruncator(reg prometheus.Registerer, js jetstream.JetStream, names wire.Names, clock *servertime.Clock, health *health) *truncator {
	return &truncator{
		js: js, names: names, want: topology.DeliverConsumer(names), clock: clock, health: health,
		removed: promauto.With(reg).NewCounter(prometheus.CounterOpts{
			Name: "fanjet_deliveries_truncated_total", Help: "Settled deliveries that were removed from the delivery log.",
		}),
	}
}

// run truncates until ctx ends.
func (t *truncator) run(ctx context.Context) {
	tick := time.NewTicker(truncateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			err := t.truncate(ctx)
			if ctx.Err() != nil {
				return
			}
			t.health.setPatiently("delivery log", err)
		}
	}
}

// truncate purges once. It trusts the consumer's floor only after a look at the
// consumer: one that was created by hand to deliver new messages only reports a
// floor at the end of the log, and below it deliveries wait.
//
// What holds it back: one delivery that is not settled, since the floor stands before it
// (so what has to wait leaves the log, for a schedule or a lane); a consumer that is not as
// ours are; a floor past the end of the log; and a server that answers nothing or stores
// nothing.
//
// Promise 1: what is removed from the log was settled.
func (t *truncator) truncate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ctx, answered := jsapi.WhileConnected(ctx, t.js.Conn())
	defer answered()
	stream := t.names.DeliveriesStream()
	asked := t.clock.Here()
	consumer, err := t.js.Consumer(ctx, stream, t.names.DeliverConsumer())
	if err != nil {
		return fmt.Errorf("cannot look at the consumer %s of the stream %s: %w", t.names.DeliverConsumer(), stream, err)
	}
	info := consumer.CachedInfo() // of just now: the lookup asks the server
	t.clock.Observe(info.TimeStamp, asked, t.clock.Here())
	if err := topology.CheckConsumer(info, t.want); err != nil {
		return err
	}
	floor := info.AckFloor.Stream
	if floor < t.purged {
		// The server went back to an older state after a crash: what lies between
		// is gone already.
		t.purged = floor
	}
	for t.purged < floor {
		upTo := min(floor, t.purged+truncateStep)
		s, err := t.js.Stream(ctx, stream)
		if err != nil {
			return fmt.Errorf("cannot truncate the stream %s: %w", stream, err)
		}
		if floor > s.CachedInfo().State.LastSeq {
			return topology.ErrPastEnd(info)
		}
		if first := s.CachedInfo().State.FirstSeq; first > t.purged+1 {
			t.purged = min(first-1, floor)
			continue
		}
		failpoint.Hit(failpoint.Truncating)
		if err := t.purge(ctx, s, upTo); err != nil {
			return err
		}
		failpoint.Hit(failpoint.Truncated)
		t.removed.Add(float64(upTo - t.purged))
		t.purged = upTo
	}
	if !t.failed {
		return nil
	}
	// A purge that was refused may have removed messages in memory, which leaves
	// nothing to do. That does not mean that the stream stores anything now.
	s, err := t.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("cannot truncate the stream %s: %w", stream, err)
	}
	return t.purge(ctx, s, t.purged)
}

// purge removes all up to a sequence.
func (t *truncator) purge(ctx context.Context, s jetstream.Stream, upTo uint64) error {
	err := s.Purge(ctx, jetstream.WithPurgeSequence(upTo+1))
	t.failed = isStorageFault(err)
	if err != nil {
		return fmt.Errorf("cannot truncate the stream %s: %w", s.CachedInfo().Config.Name, err)
	}
	return nil
}
