package publish

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/failpoint"
)

// answers receives the acknowledgements of single messages. Every publish has
// a number, and its answer comes to a subject that ends in it.
type answers struct {
	prefix string // of the subjects, with the dot
	sub    *nats.Subscription
	msgs   chan *nats.Msg
	next   uint64 // number of the next publish
}

// newAnswers returns one that has room for the answers that are waited for, and
// for more that come too late.
func newAnswers(nc *nats.Conn, window int) (*answers, error) {
	a := &answers{prefix: nc.NewInbox() + ".", msgs: make(chan *nats.Msg, 4*window)}
	var err error
	a.sub, err = nc.ChanSubscribe(a.prefix+"*", a.msgs)
	return a, err
}

// subject returns where the answer to a publish shall go.
func (a *answers) subject(number uint64) string {
	b := make([]byte, 0, len(a.prefix)+13)
	b = append(b, a.prefix...)
	return string(strconv.AppendUint(b, number, 36))
}

// number reads it from the subject of an answer.
func (a *answers) number(subject string) (uint64, bool) {
	digits, ok := strings.CutPrefix(subject, a.prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 36, 64)
	return n, err == nil
}

// trySingles publishes the items one by one without waiting in between, and
// completes those that are decided. It returns those that are not, in order,
// and why.
func (p *Publisher) trySingles(items []item) (left []item, err error) {
	ctx, cancel := p.reset.context(p.ctx)
	defer cancel()
	if err := p.connected(); err != nil {
		return items, err
	}
	if p.answers == nil {
		a, err := newAnswers(p.opts.Conn, p.opts.MaxBatch)
		if err != nil {
			return items, err
		}
		p.answers = a
	}
	first := p.answers.next
	p.answers.next += uint64(len(items))

	waiting := 0
	for i := range items {
		it := &items[i]
		it.unstage()
		if !p.fresh(it) {
			it.done.Published(ErrStale)
			*it = item{}
			continue
		}
		it.msg.Reply = p.answers.subject(first + uint64(i))
		if failure := p.opts.Conn.PublishMsg(it.msg); failure == nil {
			waiting++
		} else if !p.decide(it, failure) {
			err = failure
		}
		if i < len(items)-1 {
			failpoint.Hit(failpoint.Publishing)
		}
	}
	if undecided := p.await(ctx, items, first, waiting); undecided != nil {
		err = undecided
	}

	if undecided := p.askForIDs(items); undecided != nil {
		err = undecided
	}

	left = items[:0]
	for _, it := range items {
		if it.done != nil {
			left = append(left, it)
		}
	}
	return left, err
}

// await reads the answers to the items that are waited for. It returns why an
// item is not decided.
func (p *Publisher) await(ctx context.Context, items []item, first uint64, waiting int) (err error) {
	timer := time.NewTimer(p.opts.AckTimeout)
	defer timer.Stop()
	for quiet := true; waiting > 0; {
		select {
		case m := <-p.answers.msgs:
			n, ok := p.answers.number(m.Subject)
			if !ok || n < first || n-first >= uint64(len(items)) {
				continue // to a publish that was given up
			}
			it := &items[n-first]
			waiting--
			quiet = false
			if it.done == nil {
				continue
			}
			known, failure := p.readAck(m, it.msg.Subject, 0)
			if known && !it.tried && p.opts.Known != nil {
				p.opts.Known(it.done)
			}
			if it.asksForID(failure) {
				it.conflict = failure
			} else if !p.decide(it, failure) {
				err = failure
			}
		case <-timer.C:
			if quiet {
				return nats.ErrTimeout
			}
			quiet = true
			timer.Reset(p.opts.AckTimeout)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return err
}

// decide completes an item with the outcome of its publish, and reports false
// if that is no outcome but a fault that will pass.
func (p *Publisher) decide(it *item, err error) bool {
	switch classify(err) {
	case stored, refused, conflict:
	case full:
		if !p.opts.FailWhenFull {
			return false
		}
		err = fmt.Errorf("%w: %w", ErrFull, err)
	default:
		return false
	}
	it.done.Published(err)
	*it = item{}
	return true
}
