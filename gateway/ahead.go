package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/config"
	"fanjet/internal/jsapi"
	"fanjet/internal/servertime"
	"fanjet/internal/wire"
)

const (
	aheadEvery = 10 * time.Second
	// aheadRounds is how often is looked when nobody knows of a step: the clock may
	// have been set while nothing ran.
	aheadRounds = 3
	// aheadMost bounds the messages of a consumer that are given back in a round.
	aheadMost = 100_000
)

// ahead frees what was handed out while the clock of the embedded server was
// ahead, to a process that died since. The server counts an ack wait by its wall
// clock; after a restart it counts from when a message was stored. If that time
// has not come yet, because the clock was set back, the message waits for it and
// an ack wait more, and an ordered line with it.
//
// Such messages are given back in the place of the one who held them. What this
// process holds itself it is handed out again then, and knows (internal/intake):
// nothing comes of it. A server of others has other clients, whose deliveries
// would be doubled; there nothing is done.
type ahead struct {
	js     jetstream.JetStream
	names  wire.Names
	config *config.Config
	clock  *servertime.Clock
	log    *zap.Logger

	step   *servertime.Step // the latest that was heeded
	rounds int              // that are left
}

// run looks until ctx ends.
func (a *ahead) run(ctx context.Context) {
	a.rounds = aheadRounds
	a.round(ctx)
	repeat(ctx, aheadEvery, func() { a.round(ctx) })
}

// round looks at all consumers, if there is a reason.
func (a *ahead) round(ctx context.Context) {
	if s := a.clock.Step(); s != a.step {
		a.step = s
		if s.By < 0 {
			a.rounds = aheadRounds + int(-s.By/aheadEvery)
		}
	}
	if a.rounds <= 0 || !a.js.Conn().IsConnected() {
		return
	}
	a.rounds--
	ctx, cancel := context.WithTimeout(ctx, aheadEvery)
	defer cancel()
	freed, err := a.free(ctx)
	if freed > 0 {
		a.log.Warn("gave back what was handed out before the clock was set back", zap.Int("deliveries", freed))
	}
	if err != nil && ctx.Err() == nil {
		a.log.Warn("cannot look for deliveries that were handed out before the clock was set back", zap.Error(err))
	}
}

// free gives back what nobody may hold, and returns how many messages that may be.
func (a *ahead) free(ctx context.Context) (freed int, err error) {
	type place struct{ stream, consumer string }
	places := []place{
		{a.names.DeliveriesStream(), a.names.DeliverConsumer()}, {a.names.RetriesStream(), a.names.DueConsumer()},
	}
	for _, s := range a.config.Sources {
		places = append(places, place{s.Stream, a.names.MatchConsumer()})
	}
	var errs []error
	for _, p := range places {
		c, err := a.js.Consumer(ctx, p.stream, p.consumer)
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot look at the consumer %s of the stream %s: %w", p.consumer, p.stream, err))
			continue
		}
		n, err := a.freeOf(ctx, c.CachedInfo())
		freed, errs = freed+n, append(errs, err)
	}
	lanes, err := a.js.Stream(ctx, a.names.LanesStream())
	if err != nil {
		return freed, errors.Join(append(errs, err)...)
	}
	consumers := lanes.ListConsumers(ctx)
	for info := range consumers.Info() {
		n, err := a.freeOf(ctx, info)
		freed, errs = freed+n, append(errs, err)
	}
	return freed, errors.Join(append(errs, consumers.Err())...)
}

// freeOf gives back what a consumer has handed out, if the first message was
// stored at a time that has not come yet.
func (a *ahead) freeOf(ctx context.Context, info *jetstream.ConsumerInfo) (freed int, err error) {
	if info.NumAckPending == 0 || info.AckFloor.Stream >= info.Delivered.Stream {
		return 0, nil
	}
	filter := info.Config.FilterSubject
	if filter == "" {
		filter = ">"
	}
	first, err := jsapi.Of(a.js).Next(ctx, info.Stream, filter, info.AckFloor.Stream+1)
	if errors.Is(err, jsapi.ErrNoMessage) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot read the stream %s: %w", info.Stream, err)
	}
	if first.Sequence > info.Delivered.Stream || first.Time.Sub(a.clock.Now()) <= servertime.StepTolerance {
		return 0, nil
	}
	// What is not handed out, or is settled, the server passes over.
	last := min(info.Delivered.Stream, info.AckFloor.Stream+aheadMost)
	for seq := first.Sequence; seq <= last; seq++ {
		if err := a.js.Conn().Publish(handedOut(info, seq), []byte("-NAK")); err != nil {
			return 0, err
		}
	}
	return info.NumAckPending, nil
}

// handedOut is the reply subject of a message that a consumer handed out, as far
// as the server reads it: what came how often, and when, is not known here.
func handedOut(info *jetstream.ConsumerInfo, seq uint64) string {
	return "$JS.ACK." + info.Stream + "." + info.Name + ".1." + strconv.FormatUint(seq, 10) + "." +
		strconv.FormatUint(info.Delivered.Consumer, 10) + ".0.0"
}
