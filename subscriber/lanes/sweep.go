package lanes

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/internal/jsapi"
)

const (
	sweepEvery = time.Second
	// longSweep is how often a long lane is truncated by itself while there are
	// many.
	longSweep = 10 * time.Second
	// laneRests is how many times, while the consumer of an empty lane rests, it
	// is looked whether it may go.
	laneRests = 2
)

// sweep truncates the lanes below the ack floors of their consumers, and
// removes consumers that nobody needs any more, until ctx ends.
func (l *Lanes) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var retired, together time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			many := l.many()
			for _, lane := range l.all() {
				if ctx.Err() != nil {
					return
				}
				l.truncate(ctx, lane, now, many)
			}
			if many && now.Sub(together) > sweepAllEvery {
				together = now
				if err := l.sweepMany(ctx); err != nil && ctx.Err() == nil {
					l.opts.Sampled.Warn("cannot remove settled deliveries from the lanes", zap.Error(err))
				}
			}
			if now.Sub(retired) > l.opts.LaneRest/laneRests {
				retired = now
				if err := l.retire(ctx); err != nil && ctx.Err() == nil {
					l.opts.Sampled.Warn("cannot remove the consumers of empty lanes", zap.Error(err))
				}
			}
		}
	}
}

// many reports whether so many lanes hold something that they are truncated
// together.
func (l *Lanes) many() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, lane := range l.byName {
		if lane.count > 0 {
			n++
		}
	}
	return n >= manyLanes
}

// truncate removes from the stream what of a lane is settled, if it is time.
func (l *Lanes) truncate(ctx context.Context, lane *lane, now time.Time, many bool) {
	lane.sweeping.Lock()
	defer lane.sweeping.Unlock()
	l.mu.Lock()
	active := lane.active()
	due := lane.count > 0 && (active || !lane.swept && !lane.began.IsZero())
	if many {
		due = due && active && lane.count > longLane && now.Sub(lane.truncated) > longSweep
	}
	l.mu.Unlock()
	if due {
		lane.truncated = now
		l.sweepOne(ctx, lane, !active)
	}
}

// sweepOne removes what is settled of a lane; last says that it is not pulled
// any more. The caller holds lane.sweeping.
func (l *Lanes) sweepOne(ctx context.Context, lane *lane, last bool) {
	l.mu.Lock()
	gaveWay := lane.gaveWay
	l.mu.Unlock()
	timed, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	timed, answered := jsapi.WhileConnected(timed, l.opts.Conn)
	defer answered()
	info, err := l.opts.LookLane(timed, lane.name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return // it is being made
	}
	if err == nil {
		err = l.purge(timed, lane, info.AckFloor.Stream)
	}
	if err == nil && last {
		l.mu.Lock()
		lane.sweptOnce(gaveWay)
		l.mu.Unlock()
	}
	if err != nil && ctx.Err() == nil {
		l.opts.Sampled.Warn("cannot remove settled deliveries from a lane", zap.String("endpoint", lane.name), zap.Error(err))
	}
}

// sweptOnce notes that what was settled is removed from a lane that gave way at
// some time.
func (l *lane) sweptOnce(gaveWay time.Time) {
	if l.active() || !l.gaveWay.Equal(gaveWay) {
		return // it was pulled meanwhile
	}
	l.swept = true
	if !gaveWay.IsZero() && !l.hinted.After(gaveWay) {
		l.count = 0 // until the stream says otherwise
	}
}

// errPastEnd means that a stream lost its end, and a consumer of it did not: what
// it says is settled is not. It is made anew when it is opened next.
var errPastEnd = errors.New("the consumer of the lane is past the end of the stream")

// purge removes a lane's messages up to a sequence of the stream.
func (l *Lanes) purge(ctx context.Context, lane *lane, floor uint64) error {
	// The server went back to an older state after a crash, or the consumer was
	// made anew: what lies between is gone already.
	lane.purged = min(lane.purged, floor)
	if lane.purged == floor {
		return nil
	}
	stream, err := l.opts.JetStream.Stream(ctx, l.opts.Names.LanesStream())
	if err != nil {
		return err
	}
	if floor > stream.CachedInfo().State.LastSeq {
		return errPastEnd
	}
	err = stream.Purge(ctx, jetstream.WithPurgeSubject(l.opts.Names.LaneSubject(lane.name)), jetstream.WithPurgeSequence(floor+1))
	if err == nil {
		lane.purged = floor
	}
	return err
}

// retire removes the consumers of lanes that are empty. Other replicas may use
// them at any moment, and what is acknowledged to a consumer that is gone comes
// again: so it is paused first, which hands out nothing more, and removed only
// if nothing was handed out until then.
func (l *Lanes) retire(ctx context.Context) error {
	stream, err := l.handle(ctx)
	if err != nil {
		return err
	}
	consumers, err := l.consumers(ctx, stream)
	if err != nil {
		return err
	}
	for endpoint, info := range consumers {
		if !rested(info, l.opts.LaneRest) || l.uses(endpoint) {
			continue
		}
		if err := l.retireOne(ctx, stream, endpoint, info); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
	}
	return nil
}

// rested reports whether a consumer has nothing to do, and had nothing for so
// long.
func rested(info *jetstream.ConsumerInfo, rest time.Duration) bool {
	latest := info.Created
	for _, at := range []*time.Time{info.Delivered.Last, info.AckFloor.Last} {
		if at != nil && at.After(latest) {
			latest = *at
		}
	}
	return info.NumPending == 0 && info.NumAckPending == 0 && !info.Paused && info.TimeStamp.Sub(latest) > rest
}

// uses reports whether this replica has to do with a lane.
func (l *Lanes) uses(endpoint string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane := l.byName[endpoint]
	return lane != nil && (lane.active() || lane.count > 0)
}

func (l *Lanes) retireOne(ctx context.Context, stream jetstream.Stream, endpoint string, before *jetstream.ConsumerInfo) error {
	if held, err := l.info(ctx, l.opts.Names.LaneSubject(endpoint)); err != nil || len(held.State.Subjects) > 0 {
		return err
	}
	const pause = 10 * time.Second
	if _, err := stream.PauseConsumer(ctx, before.Name, before.TimeStamp.Add(pause)); err != nil {
		return err
	}
	consumer, err := stream.Consumer(ctx, before.Name)
	if err != nil {
		return err
	}
	if after := consumer.CachedInfo(); !after.Created.Equal(before.Created) || after.Delivered.Consumer != before.Delivered.Consumer || after.NumAckPending > 0 || after.NumPending > 0 || !after.Paused {
		_, err := stream.ResumeConsumer(ctx, before.Name)
		return err
	}
	return stream.DeleteConsumer(ctx, before.Name)
}
