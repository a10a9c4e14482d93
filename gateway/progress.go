package gateway

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/gateway/topology"
	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
	"fanjet/subscriber"
)

// sourcesProgress tells how far the events of the sources have come, whichever gateway
// matches them. It may be used concurrently.
type sourcesProgress struct {
	js      jetstream.JetStream
	names   wire.Names
	sources []config.Source
}

// look asks the leaders of all sources.
func (s *sourcesProgress) look(ctx context.Context) (map[string]subscriber.Progress, error) {
	all := make(map[string]subscriber.Progress, len(s.sources))
	for _, source := range s.sources {
		p, err := s.of(ctx, source.Stream)
		if err != nil {
			return nil, fmt.Errorf("cannot tell how far the events of the source %s have come: %w", source.Stream, err)
		}
		all[source.Stream] = p
	}
	return all, nil
}

func (s *sourcesProgress) of(ctx context.Context, name string) (p subscriber.Progress, err error) {
	stream, err := s.js.Stream(ctx, name)
	if err != nil {
		return p, err
	}
	want := topology.MatchConsumer(s.names)
	consumer, err := stream.Consumer(ctx, want.Durable)
	if err != nil {
		return p, err
	}
	info := consumer.CachedInfo()
	if err := topology.CheckConsumer(info, want); err != nil {
		return p, err // its floor would mean something else
	}
	// A leader of the stream that was just elected may say too little; no less than
	// what was handed out.
	p.Last = max(stream.CachedInfo().State.LastSeq, info.Delivered.Stream)
	p.Settled = info.AckFloor.Stream
	if p.Settled >= p.Last {
		return p, nil
	}
	// The floor passes what left the stream before it was handed out only with the next
	// event.
	next, err := jsapi.Of(s.js).Next(ctx, name, ">", p.Settled+1)
	switch {
	case errors.Is(err, jsapi.ErrNoMessage):
		p.Settled = math.MaxUint64
	case err != nil:
		return p, err
	default:
		p.Settled = next.Sequence - 1
	}
	return p, nil
}
