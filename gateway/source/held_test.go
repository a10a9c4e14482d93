package source

import (
	"slices"
	"testing"
	"time"

	"fanjet/gateway/topology"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
	"fanjet/subscriber"
)

// of returns whose delivery it is, and its event.
func of(x *subscriber.Direct) (endpoint string, f *fanout) {
	d := x.Owner.(*fanoutDelivery)
	return d.endpoint, d.fanout
}

// secures waits until a desk was asked to secure one of these, and no others.
func (r *room) secures(d *desk, endpoints ...string) {
	r.Helper()
	left := map[string]bool{}
	for _, e := range endpoints {
		left[e] = true
	}
	for len(left) > 0 {
		select {
		case x := <-d.secured:
			endpoint, f := of(x)
			if delete(left, endpoint); !slices.Contains(endpoints, endpoint) {
				r.Fatalf("%s is secured", endpoint)
			}
			// Never too early, however slow the machine is.
			if stored := f.storedAt.Load(); time.Since(f.msg.Received) < holdFor-2*heldEvery && (stored == 0 || time.Now().UnixNano()-stored < int64(holdStoredFor-heldEvery)) {
				r.Errorf("%s is secured after %s", endpoint, time.Since(f.msg.Received))
			}
		case <-time.After(time.Minute):
			r.Fatalf("%v are not secured", left)
		}
	}
}

// What takes a second is to be stored, all of it that is not settled; and again and
// again, until it is.
func TestHeldForASecond(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a", "b")
	d := r.direct()
	r.start()
	r.publish("one")
	made := r.takes(d, 2)
	r.secures(d, "a", "b")
	r.secures(d, "a", "b")
	made["a"].Owner.Settled(true)
	made["b"].Owner.Settled(true)
	r.rests(d, 0, 1)
}

// Once something of an event is stored the rest is to be, within 100 ms; what is settled
// is not.
func TestHeldAfterSomethingIsStored(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(r *room, x *subscriber.Direct){
		"as what it became": func(_ *room, x *subscriber.Direct) { x.Owner.Settled(true) },
		"as a delivery": func(r *room, x *subscriber.Direct) {
			x.Owner.WriteDown(subscriber.WhyLate)
			r.next(1)[0].published(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, "a", "b", "c")
			d := r.direct()
			r.start()
			r.publish("one")
			made := r.takes(d, 3)
			made["b"].Owner.Settled(false)
			_, f := of(made["a"])
			if f.storedAt.Load() != 0 {
				t.Error("nothing of it is stored")
			}
			store(r, made["a"])
			r.m.lookAtHeld(time.Unix(0, f.storedAt.Load()).Add(holdStoredFor))
			if len(d.secured) == 0 {
				t.Fatal("the rest is not secured")
			}
			if endpoint, _ := of(<-d.secured); endpoint != "c" {
				t.Errorf("%s is secured", endpoint)
			}
			made["c"].Owner.Settled(true)
			r.rests(d, 0, 1)
		})
	}
}

// While something is held for too long nothing more is offered.
func TestHeldForTooLong(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a")
	d := r.direct()
	r.start()
	r.publish("one")
	x := r.takes(d, 1)["a"]
	_, f := of(x)
	for after, want := range map[time.Duration]bool{holdLonger: false, holdLonger + 1: true} {
		if r.m.lookAtHeld(f.msg.Received.Add(after)); r.m.held.overdue.Load() != want {
			t.Errorf("after %s it is overdue: %v", after, !want)
		}
	}
	for deadline := time.Now().Add(time.Minute); !r.m.held.overdue.Load(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not become overdue")
		}
	}
	r.publish("two")
	r.next(1)[0].published(nil)
	x.Owner.Settled(true)
	r.m.lookAtHeld(time.Now())
	r.publish("three")
	r.takes(d, 1)
}

// Why an event is stored, whatever its endpoints are like.
func TestWhyStored(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a")
	d := r.direct()
	r.start()
	r.publish("one")
	_, real := of(r.takes(d, 1)["a"])
	for name, tt := range map[string]struct {
		change func(m *Matcher, f *fanout) (own bool)
		want   subscriber.Why
	}{
		"it is not":  {func(*Matcher, *fanout) bool { return false }, subscriber.Taken},
		"again":      {func(_ *Matcher, f *fanout) bool { f.again = true; return false }, subscriber.WhyAgain},
		"our own":    {func(*Matcher, *fanout) bool { return true }, subscriber.WhyOff},
		"nobody":     {func(m *Matcher, _ *fanout) bool { m.opts.Direct = nil; return false }, subscriber.WhyOff},
		"off":        {func(m *Matcher, _ *fanout) bool { m.opts.Direct = &desk{off: true}; return false }, subscriber.WhyOff},
		"overdue":    {func(m *Matcher, _ *fanout) bool { m.held.overdue.Store(true); return false }, subscriber.WhyOff},
		"to 16":      {func(_ *Matcher, f *fanout) bool { f.deliveries = make([]fanoutDelivery, 16); return false }, subscriber.Taken},
		"to 17":      {func(_ *Matcher, f *fanout) bool { f.deliveries = make([]fanoutDelivery, 17); return false }, subscriber.WhyWide},
		"too large":  {func(m *Matcher, f *fanout) bool { m.maxPayload = int64(f.msg.Msg.Size()) + 2000; return false }, subscriber.WhyLarge},
		"just small": {func(m *Matcher, f *fanout) bool { m.maxPayload = int64(f.msg.Msg.Size()) + 2100; return false }, subscriber.Taken},
		"received long ago": {func(_ *Matcher, f *fanout) bool {
			msg := *f.msg
			msg.Received = time.Now().Add(-offerWithin - 1)
			f.msg = &msg
			return false
		}, subscriber.WhyLate},
		"without a connection": {func(m *Matcher, _ *fanout) bool {
			s := natstest.Start(t, natstest.Options{})
			m.opts.Conn = s.Connect()
			m.opts.Conn.Close()
			m.lookAtConnection()
			return false
		}, subscriber.WhyStale},
	} {
		m := New(r.m.opts)
		f := &fanout{matcher: m, msg: real.msg, deliveries: make([]fanoutDelivery, 1)}
		own := tt.change(m, f)
		if name != "received long ago" { // this machine may be slow
			msg := *f.msg
			msg.Received = time.Now()
			f.msg = &msg
		}
		if got := m.whyStored(f, own); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// An event is somebody else's when the server, which was there all the time, did not send
// it again.
func TestGone(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a")
	f, now := &fanout{matcher: r.m}, time.Now()
	for _, step := range []struct {
		after time.Duration
		want  bool
	}{{0, false}, {lapsedFor, false}, {lapsedFor + 1, true}} {
		if got := f.gone(now.Add(step.after)); got != step.want {
			t.Errorf("after %s it is gone: %v", step.after, got)
		}
	}
	r.m.opts.Conn.Close()
	if f.gone(now.Add(2*lapsedFor)) || f.gone(now.Add(3*lapsedFor)) {
		t.Error("the server could not send it")
	}
}

// So many events are in memory as wait there for a moment only; more when they are not
// delivered directly.
func TestWindowOfDirectEvents(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a")
	d := r.direct()
	for name, tt := range map[string]struct {
		window int
		waited time.Duration
		full   bool
		off    bool
		want   int
	}{
		"they wait for long":       {100, aheadFor + 1, true, false, 75},
		"they do, and few":         {leastAhead + 1, aheadFor + 1, true, false, leastAhead},
		"they do not wait":         {100, aheadFor/2 - 1, true, false, 200},
		"they do not, and many":    {topology.MatchWindow - 1, 0, true, false, topology.MatchWindow},
		"nobody waits for them":    {100, 0, false, false, 100},
		"they wait":                {100, aheadFor / 2, true, false, 100},
		"nothing is made directly": {100, aheadFor + 1, true, true, topology.MatchWindow},
	} {
		d.set(func() { d.off = tt.off })
		r.m.held.window = tt.window
		r.m.held.waited.Store(int64(tt.waited))
		r.m.in.SetWindow(1)
		if tt.full {
			r.m.in.SetWindow(0)
		}
		if r.m.setWindow(); r.m.held.window != tt.want {
			t.Errorf("%s: %d, want %d", name, r.m.held.window, tt.want)
		}
		if r.m.held.waited.Load() != 0 {
			t.Error("it counts again at the next look")
		}
	}
}

// Of an event that others may have by now nothing is begun, given back or stored, be it
// offered or not looked at yet. When the server sends it here again it is stored, with the
// same id. But what is for an ordered endpoint is stored at once, or newer events would
// overtake it.
func TestLapsedEvents(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	r := roomAt(t, server, "a", "line")
	r.laned["line"] = true
	d := r.direct()
	r.start()
	r.publish("one")
	r.next(1)[0].published(nil) // of the line
	first := r.takes(d, 1)["a"]
	_, f := of(first)
	stall := make(chan struct{})
	d.set(func() { d.stall = stall })
	r.publish("two")
	r.next(1)[0].published(nil) // the matcher waits for room now
	r.publish("three")
	for deadline := time.Now().Add(time.Minute); r.m.in.Held() < 3; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
	}
	last := time.Now()
	server.Stop()
	for !f.msg.Lapsed() || time.Since(last) < topology.MatchAckWait {
		<-time.After(5 * time.Millisecond)
	}
	if first.Owner.Fresh(time.Now()) || !first.Owner.Lapsed() {
		t.Error("it is ours")
	}
	for len(d.secured) > 0 {
		<-d.secured
	}
	r.m.lookAtHeld(time.Now().Add(time.Hour))
	if len(d.secured) > 0 {
		t.Error("it is secured")
	}
	first.Owner.WriteDown(subscriber.WhyStale)
	d.set(func() { d.stall = nil })
	close(stall)
	second := r.takes(d, 1)["a"]
	if second.Owner.Fresh(time.Now()) {
		t.Error("it is begun")
	}
	second.Owner.WriteDown(subscriber.WhyStale)
	line := r.next(1)[0] // of the third event
	if line.stream != "in order" || line.data != "three" {
		t.Errorf("%s is stored in the %s", line.data, line.stream)
	}
	line.published(nil)
	r.nothing(d)
	server.Resume()
	stored := map[string]string{}
	for _, s := range r.next(3) {
		if s.stream != "log" {
			t.Errorf("%s is stored in the %s", s.data, s.stream)
		}
		stored[s.data] = s.id
		s.published(nil)
	}
	if len(stored) != 3 || stored["one"] != first.Owner.HopID() {
		t.Errorf("stored %v", stored)
	}
	for deadline := time.Now().Add(time.Minute); r.m.in.Held() > 0; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d are held", r.m.in.Held())
		}
	}
	r.nothing(d)
}

// What is given back of an endpoint that became ordered goes to the log, which its line
// waits for: newer events may be in the lane already.
func TestGivenBackOfAnEndpointThatBecameOrdered(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a")
	d := r.direct()
	var ordered bool
	r.m.opts.Lanes.Route = func(string) (bool, bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return ordered, ordered
	}
	r.start()
	r.publish("one")
	x := r.takes(d, 1)["a"]
	d.set(func() { ordered = true })
	r.publish("two")
	if s := r.next(1)[0]; s.stream != "in order" || s.data != "two" {
		t.Errorf("%s is stored in the %s", s.data, s.stream)
	}
	x.Owner.WriteDown(subscriber.WhyLate)
	if s := r.next(1)[0]; s.stream != "log" || s.data != "one" || s.subject != wire.NewNames("").DeliverSubject("a") {
		t.Errorf("%s is stored in the %s on %s", s.data, s.stream, s.subject)
	}
}
