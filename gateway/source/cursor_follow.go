package source

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// keepCursor has the cursor follow until ctx ends.
func (m *Matcher) keepCursor(ctx context.Context) {
	tick := time.NewTicker(cursorSoon)
	defer tick.Stop()
	copied, looked := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		created := m.created.Load()
		if created == nil || m.newly.Load() < cursorMany && now.Sub(copied) < cursorEvery {
			continue
		}
		m.newly.Store(0)
		copied = now
		if now.Sub(looked) < moveEvery {
			m.copyFloor(ctx, *created)
		} else {
			looked = now
			m.follow(ctx, *created)
		}
	}
}

// follow has the cursor follow what was acknowledged, and looks where the consumer is.
func (m *Matcher) follow(ctx context.Context, created time.Time) {
	m.copyFloor(ctx, created)
	timed, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := m.watchConsumer(timed, created); err != nil && ctx.Err() == nil {
		m.sampled.Warn("it cannot be looked whether the consumer of the source was moved", zap.Error(err))
	}
}

// copyFloor has the cursor follow what was acknowledged.
func (m *Matcher) copyFloor(ctx context.Context, created time.Time) {
	timed, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if last := m.acked.Load(); last > 0 {
		floor, err := m.cursor.advance(timed, created)
		switch {
		case err == nil && floor >= last:
			m.acked.CompareAndSwap(last, 0)
		case err != nil && ctx.Err() == nil:
			m.sampled.Warn("the cursor stays behind", zap.Error(err))
		}
	}
}

// FannedOut returns up to which sequence of the source everything is fanned out, as the
// cursor says; 0: it says nothing.
func (m *Matcher) FannedOut() uint64 {
	if at := m.cursor.at.Load(); at != nil {
		return at.Sequence
	}
	return 0
}
