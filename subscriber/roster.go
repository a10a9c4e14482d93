package subscriber

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"fanjet/subscriber/attempt"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/gate"
)

// Apply takes over another set of endpoints and another egress policy while
// the dispatcher runs. What is in flight goes on, but when Apply returns no request
// is sent any more over a connection that was made under another policy; circuits, pauses and lanes of
// endpoints that stay are kept. Deliveries to an endpoint that is gone wait in
// its lane for the grace time, and are dead-lettered then. An error changes
// nothing; it is [ErrStopping] once [Dispatcher.Run] is about to end.
func (d *Dispatcher) Apply(endpoints []endpoint.Settings, policy egress.Policy) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	if d.stopping {
		return ErrStopping // what it would start, nobody would stop
	}
	before := *d.endpoints.Load()
	sameEgress, guard := reflect.DeepEqual(policy, d.egress), d.guard
	if !sameEgress || guard == nil {
		guard = egress.New(policy, d.opts.Guard)
	}
	targets := make(map[string]*attempt.Target)
	for _, settings := range endpoints {
		if old := before[settings.Name]; old != nil && sameEgress && reflect.DeepEqual(old.settings().Settings, settings) {
			continue
		}
		own := guard
		if settings.Policy != nil {
			own = egress.New(*settings.Policy, d.opts.Guard)
		}
		t, err := attempt.NewTarget(settings, own, d.opts.Version, d.conns)
		if err != nil {
			return err
		}
		t.Awake = &d.awake
		targets[settings.Name] = t
	}

	now := time.Now()
	after := make(map[string]*member, len(endpoints))
	var changed []*member
	for _, settings := range endpoints {
		name := settings.Name
		e, t := before[name], targets[name]
		switch {
		case e == nil:
			e = d.newEndpoint(t)
		case t != nil:
			changed = append(changed, e)
		}
		after[name] = e
	}
	d.egress, d.guard = policy, guard
	d.replace(before, after)
	for _, e := range changed {
		old, others := e.configure(targets[e.name], now)
		if sameEgress {
			old.CloseIdle()
		} else {
			old.Retire()
		}
		if old.Ordered != targets[e.name].Ordered {
			d.lanes.Reopen(e.name)
		}
		d.divert(others)
		d.pump(e)
	}
	for name, e := range before {
		if after[name] == nil {
			d.divertRemoved(e)
		}
	}
	d.removals.Look()
	d.lanes.Look()
	return nil
}

func (d *Dispatcher) newEndpoint(t *attempt.Target) *member {
	e := &member{
		name: t.Name, metrics: endpointMetrics{all: d.metrics, endpoint: t.Name}, slots: d.slots, begun: &d.begun, fast: d.fast, target: t,
		gate: gate.New(&t.Settings),
	}
	e.wake = func() {
		d.pump(e)
		if e.grew.Swap(false) {
			d.lanes.Look()
		}
	}
	if p, paused := d.paused[t.Name]; paused {
		e.gate.SetPause(&p, time.Now())
	}
	if t.Ordered || e.gate.Barred(time.Now()) {
		e.laned.Store(true)
		e.lanedSince = time.Now()
	}
	return e
}

// endpoint returns an endpoint of the configuration; nil if it is not there.
func (d *Dispatcher) endpoint(name string) *member { return (*d.endpoints.Load())[name] }

// Laned reports whether new deliveries of an endpoint belong into its own lane,
// and whether they must stay in the order in which they are published.
func (d *Dispatcher) Laned(endpoint string) (laned, ordered bool) {
	e := d.endpoint(endpoint)
	if e == nil || !e.laned.Load() {
		return false, false
	}
	return true, e.settings().Ordered
}

// Statuses returns what is known about every endpoint, in order of names.
func (d *Dispatcher) Statuses() []endpoint.Status {
	now := time.Now()
	endpoints := *d.endpoints.Load()
	out := make([]endpoint.Status, 0, len(endpoints))
	for _, name := range slices.Sorted(maps.Keys(endpoints)) {
		out = append(out, endpoints[name].status(now))
	}
	return out
}

// replace makes other endpoints the known ones.
func (d *Dispatcher) replace(before, after map[string]*member) {
	d.departed.mu.Lock()
	defer d.departed.mu.Unlock()
	for name, e := range before {
		if after[name] == e {
			continue
		}
		if d.departed.byName == nil {
			d.departed.byName = make(map[string][]*member)
		}
		d.departed.byName[name] = append(d.departed.byName[name], e)
	}
	d.endpoints.Store(&after)
}
