package gate

import (
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"

	"pgregory.net/rapid"
)

// gateModel knows from outside what a gate must not do.
type gateModel struct {
	c    *gateClock
	seen endpoint.State // of the circuit
	// period counts the changes of that; opened is the period of the latest
	// opening, or resume.
	period, opened int
	successes      int       // half-open: since it began
	quiet          time.Time // open: no probe before that time
	held           time.Time // Retry-After
	paused         bool
	running        []modelAttempt
}

type modelAttempt struct {
	p      Permit
	period int
}

// circuit is the state of the circuit alone.
func (m *gateModel) circuit() endpoint.State {
	return [...]endpoint.State{circuitClosed: endpoint.StateHealthy, circuitOpen: endpoint.StateOpen, circuitHalfOpen: endpoint.StateHalfOpen}[m.c.g.circuit.state]
}

// here counts the running attempts that began in the present period.
func (m *gateModel) here() (n int) {
	for _, a := range m.running {
		if a.period == m.period {
			n++
		}
	}
	return n
}

func (m *gateModel) moved() {
	m.period++
	m.seen = m.circuit()
	m.successes = 0
	if m.seen == endpoint.StateOpen {
		m.opened = m.period
		m.quiet = m.c.now.Add(m.c.ep.Circuit.Probe)
	}
}

func (m *gateModel) admit(t *rapid.T) {
	c := m.c
	p, ok, retry := c.g.Admit(c.now, c.out)
	if !ok {
		if retry.IsZero() && !m.paused && c.out == 0 {
			t.Fatal("refused for ever")
		}
		if !retry.IsZero() && !retry.After(c.now) {
			t.Fatalf("to be asked again %v ago", c.now.Sub(retry))
		}
		return
	}
	slots := c.ep.MaxInFlight
	if c.ep.Ordered {
		slots = 1
	}
	switch {
	case m.paused, c.now.Before(m.held), c.out >= slots:
		t.Fatalf("admitted: paused %v, held until %v, %d of %d slots", m.paused, m.held, c.out, slots)
	case p.probe != (m.seen == endpoint.StateOpen):
		t.Fatalf("%s, a probe: %v", m.seen, p.probe)
	case p.probe && (m.here() > 0 || c.now.Before(m.quiet)):
		t.Fatalf("a probe beside %d, %v early", m.here(), m.quiet.Sub(c.now))
	case m.seen == endpoint.StateHalfOpen && m.here() >= halfOpenLimit+m.successes:
		t.Fatalf("half-open: one more than %d after %d successes", m.here(), m.successes)
	}
	c.out++
	m.running = append(m.running, modelAttempt{p, m.period})
}

// take takes a running attempt out.
func (m *gateModel) take(t *rapid.T) modelAttempt {
	if len(m.running) == 0 {
		t.Skip("nothing runs")
	}
	i := rapid.IntRange(0, len(m.running)-1).Draw(t, "attempt")
	a := m.running[i]
	m.running = append(m.running[:i:i], m.running[i+1:]...)
	return a
}

func (m *gateModel) done(t *rapid.T) {
	a := m.take(t)
	r := rapid.SampledFrom([]outcome.Result{
		answered(200), answered(200), answered(500), answered(500), answered(410), answered(422), answered(422), broke(outcome.ClassTimeout), asked(503, 7*time.Second),
		broke(outcome.ClassBlocked), broke(outcome.ClassInterrupted), broke(outcome.ClassLocal),
	}).Draw(t, "result")
	before := m.seen
	changes := m.c.end(a.p, r) &^ SaidGone
	after := m.circuit()

	var want Change
	switch {
	case before != endpoint.StateOpen && after == endpoint.StateOpen:
		want = Opened
	case before == endpoint.StateOpen && after == endpoint.StateHalfOpen && r.Class == outcome.Class2xx:
		want = HalfOpen
	case before == endpoint.StateOpen && after == endpoint.StateHalfOpen:
		want = Judged
	case before != endpoint.StateHealthy && after == endpoint.StateHealthy:
		want = Closed
	case after == endpoint.StateOpen && changes.Has(ProbeFailed):
		want = ProbeFailed
	}
	if changes == Judged && (r.Status != 422 || !a.p.probe || a.period != m.period-1 && a.period != m.period) {
		t.Fatal("judged by something else than the probe")
	}
	if changes != want {
		t.Fatalf("%s, then %s: changes %05b", before, after, changes)
	}
	success := r.Class == outcome.Class2xx
	if a.period < m.opened && !success && (changes != 0 || before != after) {
		t.Fatalf("an attempt from before the opening changed %s to %s: %05b", before, after, changes)
	}
	if changes.Has(ProbeFailed) && (!a.p.probe || a.period != m.period) {
		t.Fatal("another attempt failed as the probe")
	}
	if r.RetryAfter > 0 && a.p.epoch >= m.c.g.resumed {
		m.held = later(m.held, m.c.now.Add(r.RetryAfter))
	}
	switch {
	case before != after:
		m.moved()
	case changes.Has(ProbeFailed):
		m.quiet = m.c.now.Add(m.c.ep.Circuit.Probe)
	case success, r.Status == 422:
		m.successes++
	}
}

func (m *gateModel) release(t *rapid.T) {
	a := m.take(t)
	m.c.g.Release(a.p, m.c.now)
	m.c.out--
}

func (m *gateModel) configure(t *rapid.T) {
	ep := &m.c.ep
	ep.MaxInFlight = rapid.IntRange(1, 6).Draw(t, "slots")
	ep.Circuit.Failures = rapid.IntRange(0, 4).Draw(t, "failures")
	ep.Circuit.MaxProbe = time.Duration(rapid.IntRange(4, 30).Draw(t, "max_probe")) * time.Second
	ep.Ordered = rapid.IntRange(0, 4).Draw(t, "ordered") == 0
	ep.RateLimit = rapid.SampledFrom([]endpoint.Rate{{}, {Count: 4, Per: time.Second}, {Count: 40, Per: time.Minute}}).Draw(t, "rate")
	m.c.g.Configure(ep, m.c.now)
	if m.seen != m.circuit() {
		if m.circuit() != endpoint.StateHealthy {
			t.Fatalf("settings made a circuit %s", m.circuit())
		}
		m.moved()
	}
}

func (m *gateModel) pause(*rapid.T) {
	m.c.g.SetPause(&endpoint.Pause{Since: m.c.now, By: "alice"}, m.c.now)
	m.paused = true
}

func (m *gateModel) resume(*rapid.T) {
	m.c.g.SetPause(nil, m.c.now)
	if m.paused {
		m.paused, m.held = false, time.Time{}
		m.moved()
		m.opened = m.period
	}
}

// check holds at any time.
func (m *gateModel) check(t *rapid.T) {
	state, reason, since, next := m.c.g.Status(m.c.now)
	if barred := m.c.g.Barred(m.c.now); barred != (state != endpoint.StateHealthy) || barred != (reason != "") {
		t.Fatalf("%s (%s), barred: %v", state, reason, barred)
	}
	if since.After(m.c.now) || (state != endpoint.StateOpen && !next.IsZero() && !next.After(m.c.now)) {
		t.Fatalf("%s since %v, next %v", state, since, next)
	}
	if m.seen != m.circuit() {
		t.Fatalf("%s became %s by itself", m.seen, m.circuit())
	}
	if only, _ := m.c.g.Probing(m.c.now); only != (m.seen == endpoint.StateOpen) {
		t.Fatalf("only probes: %v, %s", only, m.seen)
	}
}

// heals ends everything and follows what the gate says: an attempt is admitted
// then, and after enough successes all slots are.
func (m *gateModel) heals(t *rapid.T) {
	m.resume(t)
	for _, a := range m.running {
		m.c.g.Release(a.p, m.c.now)
	}
	m.c.out = 0
	for range 40 {
		p, ok, retry := m.c.g.Admit(m.c.now, 0)
		for range 3 {
			if ok {
				break
			}
			if retry.IsZero() {
				t.Fatal("refused for ever")
			}
			m.c.now = retry
			p, ok, retry = m.c.g.Admit(m.c.now, 0)
		}
		if !ok {
			t.Fatalf("still refused, until %v", retry)
		}
		m.c.g.Done(m.c.now, p, answered(200), false, "")
	}
	m.c.pass(time.Hour)
	if state, _, _, _ := m.c.g.Status(m.c.now); state != endpoint.StateHealthy {
		t.Fatalf("%s after forty successes", state)
	}
}

func TestGateProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := newGateClock(t, func(ep *endpoint.Settings) {
			ep.MaxInFlight = 6
			ep.Circuit = endpoint.Circuit{Failures: 2, Probe: 4 * time.Second, MaxProbe: 20 * time.Second}
		})
		m := &gateModel{c: c, seen: endpoint.StateHealthy}
		t.Repeat(map[string]func(*rapid.T){
			"":       m.check,
			"admit":  m.admit,
			"admit2": m.admit, // more often than the rest
			"done":   m.done,
			"done2":  m.done,
			"pass": func(t *rapid.T) {
				c.pass(time.Duration(rapid.IntRange(0, 5000).Draw(t, "milliseconds")) * time.Millisecond)
			},
			"release": m.release,
			"configure": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "rarely") == 0 {
					m.configure(t)
				}
			},
			"pause": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "rarely") == 0 {
					m.pause(t)
				}
			},
			"resume": m.resume,
		})
		m.heals(t)
	})
}
