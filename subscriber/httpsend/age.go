package httpsend

import (
	"context"
	"errors"
	"slices"
	"time"

	"fanjet/subscriber/egress"
)

const (
	// renewWait is how long nothing is renewed after a new connection could not be
	// made.
	renewWait = time.Second
	// agedIdle is how long a connection is kept that is old and not used: who is busy
	// uses it again before.
	agedIdle = time.Second
)

// span is the life of a connection. When it is due another one is made beside it,
// which takes its place: the name is looked up again, the address judged, the
// certificate checked. An attempt notices nothing of it. Only when that does not
// succeed the old one goes on until the end. The zero value lasts for ever.
type span struct{ due, end time.Time }

// spanOf is the life of a connection that is made now. It is due between three
// quarters of the greatest age and that age, by lot, or all that were made together
// would be renewed together, again and again.
func (t *transport) spanOf(now time.Time) span {
	most := t.guard.MaxConnectionAge()
	if most <= 0 {
		return span{}
	}
	due := now.Add(most*3/4 + time.Duration(float64(most/4)*t.random()))
	return span{due: due, end: due.Add(most)}
}

func (s span) isDue(now time.Time) bool { return !s.due.IsZero() && !now.Before(s.due) }
func (s span) over(now time.Time) bool  { return !s.end.IsZero() && !now.Before(s.end) }

// renewing returns a context for making a connection beside the attempts.
func (t *transport) renewing() (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.life, egress.DialTimeout+egress.HandshakeTimeout)
}

// renew makes a connection to take the place of an old one.
func (t *transport) renew(old *conn) {
	ctx, cancel := t.renewing()
	defer cancel()
	c, err := t.dial(ctx, old.target)
	switch {
	case errors.Is(err, egress.ErrBlocked):
		t.idle.replace(old, nil)
	case err != nil:
		t.idle.notRenewed(old, time.Now().Add(renewWait))
	default:
		t.idle.replace(old, c)
	}
}

// The rest is about the idle connections of an endpoint.

// ages begins to renew an old connection that is used, unless that is under way. It
// reports false when the connection must not be used again. The caller holds mu.
func (p *idleConns) ages(c *conn, now time.Time) bool {
	switch {
	case c.replaced || c.over(now):
		return false
	case !c.isDue(now) || c.renewing || now.Before(p.renewAfter):
		return true
	case p.renew == nil:
		return false
	}
	c.renewing = true
	go p.renew(c)
	return true
}

// replace has a new connection take the place of an old one, which is closed as
// soon as it is not in use; nil: there is no new one.
func (p *idleConns) replace(old, fresh *conn) {
	p.mu.Lock()
	old.replaced = true
	gone := p.remove(func(c *conn) bool { return c == old })
	closed := p.closed
	p.mu.Unlock()
	closeAll(gone)
	switch {
	case fresh == nil:
	case closed:
		_ = fresh.Close()
	default:
		p.put(fresh)
	}
}

// notRenewed lets an old connection go on.
func (p *idleConns) notRenewed(old *conn, again time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old.renewing, p.renewAfter = false, again
}

// remove takes idle connections out. The caller holds mu, and closes them.
func (p *idleConns) remove(which func(*conn) bool) (out []*conn) {
	p.conns = slices.DeleteFunc(p.conns, func(c *conn) bool {
		if which(c) {
			out = append(out, c)
			return true
		}
		return false
	})
	p.limit.add(-len(out))
	return out
}

// expiry is when a connection that is idle since then is closed if it stays so.
func (c *conn) expiry(timeout time.Duration) time.Time {
	if !c.due.IsZero() {
		timeout = min(timeout, max(c.due.Sub(c.idleSince), agedIdle))
	}
	return c.idleSince.Add(timeout)
}
