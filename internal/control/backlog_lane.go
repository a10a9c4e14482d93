package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// askedLanes bounds how many lanes are asked what of them is settled and what is
// oldest, which takes two requests each.
const askedLanes = 1000

// askLanes corrects what the longest lanes hold: a settled delivery stays in the
// stream for a moment, and is not waiting any more.
func (b *backlogs) askLanes(ctx context.Context, api jsapi.API, names wire.Names) error {
	found := b.snapshot()
	lanes := slices.Collect(maps.Keys(found))
	lanes = slices.DeleteFunc(lanes, func(endpoint string) bool { return found[endpoint].Waiting == 0 })
	slices.SortFunc(lanes, func(x, y string) int { return cmp.Compare(found[y].Waiting, found[x].Waiting) })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(requests)
	for _, endpoint := range lanes[:min(len(lanes), askedLanes)] {
		group.Go(func() error { return b.askLane(ctx, api, names, endpoint) })
	}
	return group.Wait()
}

// askLane corrects what one lane holds, and looks for the oldest delivery.
func (b *backlogs) askLane(ctx context.Context, api jsapi.API, names wire.Names, endpoint string) error {
	stream := names.LanesStream()
	unsettled, floor, err := laneState(ctx, api, stream, names.LaneConsumer(endpoint))
	if err != nil {
		return err
	}
	var waiting uint64
	b.update(endpoint, func(of *Backlog) {
		of.Waiting = min(of.Waiting, unsettled)
		waiting = of.Waiting
	})
	if waiting == 0 {
		return nil
	}
	oldest, err := firstAccepted(ctx, api, stream, names.LaneSubject(endpoint), floor+1)
	b.update(endpoint, func(of *Backlog) { of.Oldest = oldest })
	return err
}

// laneState returns how many deliveries of a lane its consumer has not seen
// settled, and the sequence of the stream up to which all are. A consumer that
// does not exist has handed out nothing.
func laneState(ctx context.Context, api jsapi.API, stream, consumer string) (unsettled, floor uint64, err error) {
	var info struct {
		Pending    uint64 `json:"num_pending"`     // not handed out yet
		AckPending uint64 `json:"num_ack_pending"` // handed out, not settled
		AckFloor   struct {
			Stream uint64 `json:"stream_seq"`
		} `json:"ack_floor"`
	}
	err = api.Ask(ctx, "CONSUMER.INFO."+stream+"."+consumer, struct{}{}, &info)
	switch {
	case jsapi.IsCode(err, jetstream.JSErrCodeConsumerNotFound), jsapi.IsCode(err, jetstream.JSErrCodeStreamNotFound):
		return ^uint64(0), 0, nil
	case err != nil:
		return 0, 0, fmt.Errorf("asking for the state of the consumer %s of the stream %s: %w", consumer, stream, err)
	}
	return info.Pending + info.AckPending, info.AckFloor.Stream, nil
}

// firstAccepted returns when the event of the first message on a subject, from
// a sequence of the stream on, was accepted; the zero time if there is no such
// message any more.
func firstAccepted(ctx context.Context, api jsapi.API, stream, subject string, from uint64) (time.Time, error) {
	m, err := api.Next(ctx, stream, subject, from)
	switch {
	case errors.Is(err, jsapi.ErrNoMessage):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("reading the first message on %s in the stream %s: %w", subject, stream, err)
	}
	if header, err := m.Header(); err == nil {
		if accepted, err := time.Parse(time.RFC3339Nano, header.Get(wire.HeaderAccepted)); err == nil {
			return accepted, nil
		}
	}
	return m.Time, nil // not one of ours
}
