package publish

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// Waits between two tries while messages are held.
const (
	minHold = 50 * time.Millisecond
	maxHold = 2 * time.Second
)

// send publishes the items and completes each.
func (p *Publisher) send(items []item) {
	for len(items) > 0 {
		n, batch := p.pace.choose(len(items), p.opts.InOrder)
		if batch {
			p.sendBatch(items[:n])
		} else {
			p.sendSingles(items[:n])
		}
		items = items[n:]
	}
}

// sendBatch publishes several items as an atomic batch, until that is decided.
func (p *Publisher) sendBatch(items []item) {
	wait := minHold
	for {
		if items = p.freshOf(items); len(items) < 2 {
			p.sendSingles(items)
			return
		}
		began := time.Now()
		err := p.tryBatch(items)
		if errors.Is(err, ErrStale) {
			continue // without those
		}
		switch classify(err) {
		case stored:
			p.pace.observeBatch(len(items), time.Since(began))
			p.setHeld(nil)
			complete(items, nil)
			return

		case duplicates:
			// Some are stored already, perhaps all of them: a commit whose answer
			// was lost, or an event that is fanned out again. Of single messages the
			// server tells which.
			p.sendSingles(items)
			return

		case refused, conflict, contended:
			half := len(items) / 2
			p.send(items[:half])
			p.send(items[half:])
			return

		case full:
			if p.opts.FailWhenFull {
				p.setHeld(nil)
				complete(items, fmt.Errorf("%w: %w", ErrFull, err))
				return
			}
		}
		if !p.hold(err, items, &wait) {
			complete(items, ErrClosed)
			return
		}
	}
}

// sendSingles publishes items as single messages, until each is decided: all
// that are left at once, or, in order, one after the other.
func (p *Publisher) sendSingles(items []item) {
	if p.opts.InOrder {
		for ; len(items) > 1; items = items[1:] {
			p.sendSingles(items[:1])
		}
	}
	if len(items) == 0 {
		return
	}
	wait := minHold
	for first := true; ; first = false {
		began, n := time.Now(), len(items)
		left, err := p.trySingles(items)
		if len(left) == 0 {
			if first {
				p.pace.observeSingles(n, time.Since(began))
			}
			p.setHeld(nil)
			return
		}
		if items = left; !p.hold(err, items, &wait) {
			complete(items, ErrClosed)
			return
		}
	}
}

// fresh reports whether an item may be sent.
func (p *Publisher) fresh(it *item) bool { return p.opts.Fresh == nil || p.opts.Fresh(it.done) }

// freshOf completes the items that may not be sent any more, and returns the
// others, in order.
func (p *Publisher) freshOf(items []item) []item {
	if p.opts.Fresh == nil {
		return items
	}
	left := items[:0]
	for i := range items {
		if it := items[i]; p.fresh(&it) {
			left = append(left, it)
		} else {
			complete([]item{it}, ErrStale)
		}
	}
	return left
}

// hold waits before the next try. It reports false when there will be none.
func (p *Publisher) hold(cause error, items []item, wait *time.Duration) bool {
	if p.ctx.Err() != nil {
		return false
	}
	if p.Held() == nil {
		p.log.Warn("publishing is held; it is tried again until it succeeds", zap.Int("messages", len(items)), zap.Error(cause))
	}
	p.setHeld(cause)
	for i := range items {
		items[i].tried = true
	}
	select {
	case <-time.After(*wait):
	case <-p.ctx.Done():
		return false
	}
	*wait = min(2**wait, maxHold)
	return true
}

// connected says why nothing can be published now. A context of the reset
// watch must exist before: a connection that is lost in between ends it.
func (p *Publisher) connected() error {
	if !p.opts.Conn.IsConnected() {
		return nats.ErrDisconnected
	}
	return nil
}
