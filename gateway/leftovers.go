package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/gateway/topology"
	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

const (
	leftoversEvery = 15 * time.Second
	leftoversStep  = 1000 // removed in one round
)

// leftovers removes attempts that were due, were settled, and are still stored.
//
// A work queue deletes a message at its ack. But the server writes the ack and
// the deletion apart, and after a kill -9 one that is alone does not compare the
// two (nats-server 2.15.2 does so at the start only for streams with interest
// retention). Such a message is never handed out again. It would count as a
// retry that waits, for ever, and an endpoint that is made ordered would wait
// for it.
type leftovers struct {
	js    jetstream.JetStream
	names wire.Names
	want  jetstream.ConsumerConfig // of the attempts that are due
	log   *zap.Logger
}

func (l *leftovers) run(ctx context.Context) {
	tick := time.NewTicker(leftoversEvery)
	defer tick.Stop()
	for {
		removed, err := l.remove(ctx)
		if removed > 0 {
			l.log.Info("removed retries that were settled before a crash", zap.Int("retries", removed))
		}
		if err != nil && ctx.Err() == nil {
			l.log.Warn("cannot look for retries that are settled but still stored; it is tried again", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// remove deletes what lies at or below the ack floor of the consumer, after a
// look at the consumer: see [truncator.truncate]. It deletes single messages: a
// purge would also move the consumer.
func (l *leftovers) remove(ctx context.Context) (removed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stream, err := l.js.Stream(ctx, l.names.RetriesStream())
	if err != nil {
		return 0, fmt.Errorf("cannot open the stream %s: %w", l.names.RetriesStream(), err)
	}
	consumer, err := stream.Consumer(ctx, l.names.DueConsumer())
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, nil // it is about to be made
	}
	if err != nil {
		return 0, fmt.Errorf("cannot look at the consumer %s: %w", l.names.DueConsumer(), err)
	}
	info := consumer.CachedInfo() // of just now
	if err := topology.CheckConsumer(info, l.want); err != nil {
		return 0, err
	}
	past, err := topology.PastEnd(ctx, stream, info)
	if err == nil && past {
		err = topology.ErrPastEnd(info)
	}
	if err != nil {
		return 0, err
	}
	for next := uint64(1); removed < leftoversStep; removed++ {
		msg, err := jsapi.Of(l.js).Next(ctx, l.names.RetriesStream(), l.names.DueSubject("*"), next)
		if errors.Is(err, jsapi.ErrNoMessage) || err == nil && msg.Sequence > info.AckFloor.Stream {
			return removed, nil
		}
		if err != nil {
			return removed, fmt.Errorf("cannot read the stream %s: %w", l.names.RetriesStream(), err)
		}
		if err := stream.DeleteMsg(ctx, msg.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return removed, fmt.Errorf("cannot remove message %d of the stream %s: %w", msg.Sequence, l.names.RetriesStream(), err)
		}
		next = msg.Sequence + 1
	}
	return removed, nil
}
