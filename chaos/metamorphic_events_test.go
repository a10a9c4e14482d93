package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/ledger"
)

// produce publishes the events of the plan, and returns when each is accepted.
func (m *metamorphic) produce(p *producer) {
	var settled sync.WaitGroup
	defer settled.Wait()
	next := 0 // of the faults
	meet := func(event int) {
		for ; next < len(m.plan.faults) && m.plan.faults[next].at <= event; next++ {
			close(m.reached[next])
			select {
			case <-m.begun[next]:
			case <-m.Context().Done():
			}
		}
	}
	for _, n := range m.plan.events {
		meet(n)
		publish := m.publish(p, n)
		if m.plan.set("publish") == "one" {
			publish()
		} else {
			settled.Go(publish)
		}
		m.pause(time.Duration(m.plan.lot(8, "pause", n)) * time.Millisecond)
	}
	for _, b := range m.plan.faults {
		meet(b.at)
	}
}

// publish publishes an event, and returns what publishes it again until it is
// accepted. Its message id makes that harmless.
func (m *metamorphic) publish(p *producer, n int) (settle func()) {
	body := m.plan.body(n)
	entry, err := m.ledger.Publish(ledger.Event{
		Body: ledger.HashOf(body), Endpoints: m.plan.goesTo(n), Outcomes: m.plan.outcomes(n), Published: time.Now(),
	})
	if err != nil {
		m.Errorf("event %d: %v", n, err)
		return func() {}
	}
	msg := &nats.Msg{Subject: m.plan.subject(n), Data: body, Header: nats.Header{"Content-Type": {"application/json"}}}
	msg.Header.Set(nats.MsgIdHdr, fmt.Sprintf("event-%d", n))
	answer := p.send(msg)
	return func() {
		for {
			ack, err := answer()
			if err == nil {
				m.ledger.Accept(entry, ack.Stream, ack.Sequence, time.Now())
				return
			}
			if m.Context().Err() != nil {
				return
			}
			m.pause(20 * time.Millisecond)
			answer = p.send(msg)
		}
	}
}

// body is that of an event: a small one, now and then a large one.
func (p plan) body(n int) []byte {
	padding := p.lot(400, "padding", n)
	if p.lot(40, "large", n) == 0 {
		padding = 40 << 10
	}
	to := p.goesTo(n)
	if to == nil {
		to = []string{}
	}
	body, _ := json.Marshal(map[string]any{"n": n, "to": to, "padding": string(bytes.Repeat([]byte("x"), padding))}) // it cannot fail
	return body
}

// subject says who gets an event.
func (p plan) subject(n int) string {
	to := p.goesTo(n)
	return subjectOf(func(endpoint string) string {
		if slices.Contains(to, endpoint) {
			return "yes"
		}
		return "no"
	})
}
