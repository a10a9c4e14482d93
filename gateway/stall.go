package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/internal/wire"
)

// stalledAfter is for how long something may wait in a consumer, with nobody
// holding anything of it, before that counts. A gateway pulls all the time.
const stalledAfter = time.Minute

// stalls notices consumers from which nothing comes although something waits,
// whatever the reason: no gateway asks, or the server does not answer.
type stalls struct {
	seen map[string]stall // by consumer and stream
}

// stall is how a consumer was when it first looked as if it stood still.
type stall struct {
	since     time.Time
	delivered uint64 // by the consumer
}

// look asks for the shared consumers, and returns an error for those that stand
// still. A consumer that cannot be asked is told by others.
func (s *stalls) look(ctx context.Context, js jetstream.JetStream, names wire.Names, cfg *config.Config) error {
	consumers := [][2]string{{names.DeliveriesStream(), names.DeliverConsumer()}, {names.RetriesStream(), names.DueConsumer()}}
	for _, source := range cfg.Sources {
		consumers = append(consumers, [2]string{source.Stream, names.MatchConsumer()})
	}
	var errs []error
	for _, c := range consumers {
		consumer, err := js.Consumer(ctx, c[0], c[1])
		if err == nil {
			errs = append(errs, s.judge(consumer.CachedInfo(), time.Now()))
		}
	}
	return errors.Join(errs...)
}

// judge says whether a consumer stands still.
func (s *stalls) judge(info *jetstream.ConsumerInfo, now time.Time) error {
	if s.seen == nil {
		s.seen = make(map[string]stall)
	}
	key := info.Name + " " + info.Stream
	if info.NumPending == 0 || info.NumAckPending > 0 || info.Paused {
		delete(s.seen, key)
		return nil
	}
	known, ok := s.seen[key]
	if !ok || known.delivered != info.Delivered.Consumer {
		known = stall{since: now, delivered: info.Delivered.Consumer}
		s.seen[key] = known
	}
	if now.Sub(known.since) < stalledAfter {
		return nil
	}
	return fmt.Errorf("the consumer %s of the stream %s hands out nothing, and messages wait; restart the NATS server if that lasts", info.Name, info.Stream)
}
