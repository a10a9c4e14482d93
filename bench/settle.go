package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

// settled waits until nothing is left to take or to acknowledge in any of the
// consumers of what is measured, and nothing waits for its time. When everything has arrived that is a matter
// of milliseconds; what is never acknowledged would come again some day.
func (w *world) settled(ctx context.Context) error {
	for {
		left, err := w.unsettled(ctx)
		if err != nil || left == "" {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("everything arrived, but not everything was acknowledged: %s", left)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// quiet waits until nothing can come any more: nothing is left in the streams,
// no request is open, and none came while that was looked at. After a kill that
// takes an AckWait.
func (w *world) quiet(ctx context.Context) error {
	for {
		before, err := w.progress(ctx)
		if err != nil {
			return err
		}
		if err := w.settled(ctx); err != nil {
			return err
		}
		after, err := w.progress(ctx)
		if err != nil || after == before && after.Open == 0 {
			return err
		}
	}
}

// unsettled describes the consumers that have something left, and what waits
// in the retries' stream, where no consumer knows of it.
func (w *world) unsettled(ctx context.Context) (string, error) {
	var left []string
	retries := wire.NewNames(wire.DefaultPrefix).RetriesStream()
	for _, stream := range w.streams() {
		s, err := w.js.Stream(ctx, stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return "", err
		}
		if n := s.CachedInfo().State.Msgs; n > 0 && stream == retries {
			left = append(left, fmt.Sprintf("%s holds %d", stream, n))
		}
		consumers := s.ListConsumers(ctx)
		for c := range consumers.Info() {
			if c.NumPending > 0 || c.NumAckPending > 0 {
				left = append(left, fmt.Sprintf("%s of %s has %d to take and %d to acknowledge", c.Name, stream, c.NumPending, c.NumAckPending))
			}
		}
		if err := consumers.Err(); err != nil {
			return "", err
		}
	}
	return strings.Join(left, "; "), nil
}

// streams are those that deliveries pass.
func (w *world) streams() []string {
	if w.kind == bareLoopKind {
		return []string{benchStream}
	}
	names := wire.NewNames(wire.DefaultPrefix)
	return []string{benchStream, names.DeliveriesStream(), names.LanesStream(), names.RetriesStream()}
}

// diverted is how many deliveries were put into a lane of their endpoint. A
// healthy one needs none, however busy it is.
func (w *world) diverted(ctx context.Context) (int, error) {
	s, err := w.js.Stream(ctx, wire.NewNames(wire.DefaultPrefix).LanesStream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil // the bare loop has none
	}
	if err != nil {
		return 0, err
	}
	return int(s.CachedInfo().State.LastSeq), nil
}
