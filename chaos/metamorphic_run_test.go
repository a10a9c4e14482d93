package chaos

import (
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/ledger"
)

// metamorphic is a plan that is carried out.
type metamorphic struct {
	*world
	plan    plan
	rng     *rand.Rand // of how long things take
	nats    string     // the section of the configuration
	server  *node      // nil: that of the gateway
	edition int        // of the configuration

	// Events from a number on are published when the faults before it have begun.
	reached, begun []chan struct{}
}

// runPlan carries out a plan, and checks what became of its events.
func runPlan(t *testing.T, p plan) ledger.Report {
	t.Helper()
	m := &metamorphic{world: newWorld(t), plan: p, rng: rand.New(rand.NewPCG(p.seed, 4))}
	m.about = p.String()
	m.direct = p.set("direct") == "on"
	for range p.faults {
		m.reached, m.begun = append(m.reached, make(chan struct{})), append(m.begun, make(chan struct{}))
	}
	answers := newDestiny(p)
	for _, endpoint := range p.endpoints {
		m.hooks.set(endpoint, answers.at(endpoint))
	}
	if p.set("ordered") == "on" {
		m.ledger.Ordered("line")
	}
	m.setUp()
	var producing sync.WaitGroup
	t.Cleanup(producing.Wait)
	producer := m.newProducer(m.url(), nil)
	published := make(chan struct{})
	producing.Go(func() { defer close(published); m.produce(producer) })
	for i, b := range p.faults {
		m.await(m.reached[i])
		close(m.begun[i])
		m.pause(m.soon(80))
		m.mend()
		breakages()[b.kind](m, b.arg)
	}
	m.await(published)
	m.rest()
	report := m.account()
	for _, g := range m.gateways {
		m.stop(g)
	}
	return report
}

// setUp starts the server and the gateways.
func (m *metamorphic) setUp() {
	m.Helper()
	gateways := 1
	durability := m.plan.set("durability")
	switch m.plan.set("nats") {
	case "embedded":
		m.nats = m.embedded(durability)
	case "shared":
		gateways = 2
		fallthrough
	default:
		m.server = m.newServer(durability)
		m.nats = m.server.section()
	}
	for i := range gateways {
		m.start(m.newGateway("gateway-"+strconv.Itoa(i), m.nats, m.plan.yaml(0)))
	}
}

// url returns where the server listens at the time.
func (m *metamorphic) url() func() string {
	if m.server == nil {
		return m.gateways[0].url
	}
	return func() string { return "nats://" + m.server.client }
}

// soon draws a time below so many milliseconds.
func (m *metamorphic) soon(below int) time.Duration {
	return time.Duration(m.rng.IntN(below)) * time.Millisecond
}

// await waits for something that the producer comes to.
func (m *metamorphic) await(that <-chan struct{}) {
	m.Helper()
	m.until("the producer has its PubAcks", func() bool {
		m.mend()
		select {
		case <-that:
			return true
		default:
			return false
		}
	})
}

// rest waits until nothing is under way any more, as quiet does, and keeps things
// going: it starts what kills itself, and resumes what pauses itself.
func (m *metamorphic) rest() {
	m.Helper()
	var before stillness
	m.until("nothing is under way any more", func() bool {
		m.mend()
		now := m.glance()
		at := before
		before = now
		if !now.still {
			m.resumeAll()
			return false
		}
		return at.still && maps.Equal(now.last, at.last)
	})
}

// glance looks once, over a connection of its own: the server may be another one by
// now.
func (m *metamorphic) glance() stillness {
	opts := []nats.Option{nats.Timeout(5 * time.Second)}
	if seed := m.operatorKey(); seed != "" && m.server == nil {
		opt, err := nats.NkeyOptionFromSeed(seed)
		if err != nil {
			return stillness{why: err.Error()}
		}
		opts = append(opts, opt)
	}
	nc, err := nats.Connect(m.url()(), opts...)
	if err != nil {
		return stillness{why: err.Error()}
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return stillness{why: err.Error()}
	}
	return m.look(js)
}

// account compares what became of the events with what must have become of them.
// Each was accepted, and nothing waits any more.
func (m *metamorphic) account() ledger.Report {
	m.Helper()
	var standing *ledger.Standing
	m.until("the dead letters are known", func() bool {
		m.mend()
		standing = m.gateways[0].standing()
		return standing != nil
	})
	report := m.compare(*standing)
	if report.Accepted != len(m.plan.events) || report.Maybe+report.Absent+report.Pending > 0 {
		m.Errorf("not all was accepted, or something waits:\n%s", &report)
	}
	return report
}
