package publish

import (
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
		began := time.Now()
		err := p.tryBatch(items)
		switch verdict(err) {
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

		case refused:
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
		if !p.hold(err, len(items), &wait) {
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
		if items = left; !p.hold(err, len(items), &wait) {
			complete(items, ErrClosed)
			return
		}
	}
}

// hold waits before the next try. It reports false when there will be none.
func (p *Publisher) hold(cause error, messages int, wait *time.Duration) bool {
	if p.ctx.Err() != nil {
		return false
	}
	if p.Held() == nil {
		p.log.Warn("publishing is held; it is tried again until it succeeds", zap.Int("messages", messages), zap.Error(cause))
	}
	p.setHeld(cause)
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
