package subscriber

import (
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"fanjet/internal/failpoint"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
)

// divert moves deliveries from the shared consumers to the lanes of their
// endpoints. Each is acknowledged there when JetStream has it in the lane.
func (d *Dispatcher) divert(deliveries []*delivery) {
	for _, dl := range deliveries {
		if x := dl.msg.direct(); x != nil { // its owner stores it, and knows of the lane
			if dl.ep != nil {
				dl.ep.moved()
			}
			x.Owner.WriteDown(WhyMoved)
			continue
		}
		if dl.msg.Lapsed() { // others may have delivered it
			if dl.ep != nil {
				dl.ep.moved()
			}
			dl.msg.Nak()
			continue
		}
		d.settling.Add(1)
		m := &move{d: d, dl: dl}
		endpoint := wire.EndpointOf(dl.msg.Msg.Subject)
		msg := &nats.Msg{Subject: d.opts.Names.LaneSubject(endpoint), Header: wire.HopHeaders(dl.msg.Msg.Header), Data: dl.msg.Msg.Data}
		msg.Header[nats.MsgIdHdr] = []string{dl.msg.hopID()}
		if err := d.opts.Lanes.Enqueue(d.work, msg, m); err != nil {
			m.Published(err)
		}
		failpoint.Hit(failpoint.Diverting)
	}
}

// divertRemoved moves what waits for an endpoint that is not in the
// configuration any more.
func (d *Dispatcher) divertRemoved(e *member) {
	for _, dl := range e.stop() {
		if dl.lane {
			dl.msg.Nak()
			continue
		}
		dl.ep = nil
		d.divert([]*delivery{dl})
	}
	e.settings().CloseIdle()
}

// move is a delivery on its way to its lane. It implements
// [publish.Completion].
type move struct {
	d  *Dispatcher
	dl *delivery
}

func (m *move) Published(err error) {
	d, dl := m.d, m.dl
	if dl.ep != nil {
		dl.ep.moved()
	}
	if err != nil {
		go func() {
			defer d.settling.Done()
			m.failed(err)
		}()
		return
	}
	defer d.settling.Done()
	failpoint.Hit(failpoint.LaneStored)
	dl.msg.Ack()
	d.metrics.diverted.Inc()
	d.lanes.Holds(wire.EndpointOf(dl.msg.Msg.Subject))
}

// failed handles a delivery that the lane did not take. It must not stay in the
// fast lane, where it would hold back the truncation: it becomes a schedule that
// is no attempt.
func (m *move) failed(err error) {
	d, dl := m.d, m.dl
	env, unreadable := wire.ReadEnvelope(dl.msg.Msg.Header)
	switch {
	case !isFull(err) && !publish.IsRefused(err):
		d.giveBack(dl.msg, env, err)
	case unreadable != nil:
		d.foreign(d.work, dl, unreadable)
	default:
		d.metrics.laneRefused.Inc()
		d.sampled.Error("the lane of an endpoint takes no delivery; it waits as a retry that is no attempt",
			zap.String("endpoint", env.Endpoint), zap.String("id", env.EventID), zap.Error(err))
		d.schedule(d.work, dl, env, d.opts.ServerTime().Add(laneWait), env.Attempt-1, nil)
	}
}
