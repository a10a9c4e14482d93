package lanes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

const (
	// manyLanes is from how many on lanes are truncated together. The server
	// counts anew what waits for every consumer of the stream at each purge, so
	// one purge a lane is work that grows with the square of their number.
	manyLanes = 64
	// sweepAllEvery is how often that is done, at most.
	sweepAllEvery = 5 * time.Second
	// longLane is from how many messages on a lane is truncated by itself
	// although there are many: its own purge is worth it.
	longLane = 2000
)

// truncateAll removes everything from the front of the stream that is settled,
// whichever lane it is in: all up to the first delivery that is not. It returns
// the lanes in which nothing is left.
func (l *Lanes) truncateAll(ctx context.Context) (emptied []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	names := l.opts.Names
	// A message that is stored after this look stays.
	held, err := l.info(ctx, names.LaneSubject("*"))
	if err != nil {
		return nil, err
	}
	stream, err := l.handle(ctx)
	if err != nil {
		return nil, err
	}
	consumers, err := l.consumers(ctx, stream)
	if err != nil {
		return nil, err
	}
	// Newer than what the consumers say.
	now, err := stream.Info(ctx)
	if err != nil {
		return nil, err
	}
	type settled struct {
		endpoint string
		upTo     uint64 // all of the lane's messages up to here are settled
		all      bool   // and there are no others
	}
	lanes := make([]settled, 0, len(held.State.Subjects))
	for subject := range held.State.Subjects {
		lane := settled{endpoint: wire.EndpointOf(subject)}
		if info := consumers[lane.endpoint]; info != nil {
			if err := l.opts.CheckLane(info, lane.endpoint); err != nil {
				return nil, err
			}
			if info.AckFloor.Stream > now.State.LastSeq {
				return nil, errPastEnd
			}
			lane.upTo, lane.all = info.AckFloor.Stream, info.NumPending == 0 && info.NumAckPending == 0
		}
		lanes = append(lanes, lane)
	}
	// A consumer's count of what waits is an account, and accounts can be wrong:
	// the stream itself has the last word.
	group, ask := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range lanes {
		if lane := &lanes[i]; lane.all || lane.upTo == 0 {
			group.Go(func() error {
				next, err := l.firstAfter(ask, lane.endpoint, lane.upTo)
				switch {
				case err != nil:
					return err
				case next == 0 || next > held.State.LastSeq:
					lane.upTo, lane.all = held.State.LastSeq, lane.all && next == 0
				default:
					lane.upTo, lane.all = next-1, false
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	upTo := held.State.LastSeq
	for _, lane := range lanes {
		upTo = min(upTo, lane.upTo)
	}
	if upTo < held.State.FirstSeq || len(lanes) == 0 {
		return nil, nil
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
		return nil, err
	}
	for _, lane := range lanes {
		if lane.all && upTo == held.State.LastSeq {
			emptied = append(emptied, lane.endpoint)
		}
	}
	return emptied, nil
}

// consumers returns the consumers of all lanes, by endpoint.
func (l *Lanes) consumers(ctx context.Context, stream jetstream.Stream) (map[string]*jetstream.ConsumerInfo, error) {
	out := make(map[string]*jetstream.ConsumerInfo)
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if endpoint, ours := strings.CutPrefix(info.Name, l.opts.Names.LaneConsumer("")); ours {
			out[endpoint] = info
		}
	}
	return out, list.Err()
}

// firstAfter returns the sequence of the first message of a lane after another
// sequence; 0 if there is none. The leader of the stream answers: a replica may
// not have it yet.
func (l *Lanes) firstAfter(ctx context.Context, endpoint string, after uint64) (uint64, error) {
	names := l.opts.Names
	m, err := jsapi.Of(l.opts.JetStream).Next(ctx, names.LanesStream(), names.LaneSubject(endpoint), after+1)
	switch {
	case errors.Is(err, jsapi.ErrNoMessage):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("cannot look into the lane of %s: %w", endpoint, err)
	}
	return m.Sequence, nil
}

// sweepMany truncates the lanes while there are many of them.
func (l *Lanes) sweepMany(ctx context.Context) error {
	asked := time.Now()
	emptied, err := l.truncateAll(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, endpoint := range emptied {
		lane := l.byName[endpoint]
		if lane == nil || lane.hinted.After(asked) {
			continue
		}
		lane.count = 0 // until the stream says otherwise
		if !lane.active() {
			lane.swept = true
		}
	}
	return nil
}
