package chaos

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/ledger"
)

// kind is what an event is: where it is published, and who must get it.
type kind struct {
	subject   string
	endpoints []string
}

// producer publishes numbered events, as a company's own program would: without
// credentials, and over a connection that comes back. It enters every event into
// the ledger, and every PubAck.
//
// Every second event has a message id, and is published again with it until
// there is a PubAck. The others are published once, and may come to nothing.
type producer struct {
	w      *world
	js     jetstream.JetStream
	close  func()
	kindOf func(n int) kind

	mu        sync.Mutex
	published int // the next number
}

// newProducer connects to the NATS server that url returns at the time.
func (w *world) newProducer(url func() string, kindOf func(n int) kind) *producer {
	w.Helper()
	nc, err := nats.Connect(nats.DefaultURL, nats.SetCustomDialer(follow(url)), nats.IgnoreDiscoveredServers(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		w.Fatalf("the producer: %v", err)
	}
	p := &producer{w: w, close: nc.Close, kindOf: kindOf}
	w.Cleanup(nc.Close)
	if p.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(256), jetstream.WithPublishAsyncTimeout(5*time.Second)); err != nil {
		w.Fatal(err)
	}
	return p
}

// follow dials the server that has a URL at the time.
type follow func() string

// Dial implements nats.CustomDialer.
func (f follow) Dial(network, _ string) (net.Conn, error) {
	u, err := url.Parse(f())
	if err != nil {
		return nil, err
	}
	return net.DialTimeout(network, u.Host, 5*time.Second)
}

// publish publishes n events, and returns when it is known of all what became
// of them.
func (p *producer) publish(n int) {
	p.w.Helper()
	ctx, cancel := context.WithTimeout(p.w.Context(), patience)
	defer cancel()
	var settled sync.WaitGroup
	for range n {
		if !p.one(ctx, &settled) {
			break
		}
	}
	settled.Wait()
	if ctx.Err() != nil {
		p.w.Errorf("the producer waits too long for its PubAcks")
	}
}

// produce publishes a number of events a second until ctx ends.
func (p *producer) produce(ctx context.Context, perSecond int) {
	const step = 10 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	var settled sync.WaitGroup
	defer settled.Wait()
	for owed := 0.0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for owed += float64(perSecond) * step.Seconds(); owed >= 1; owed-- {
			if !p.one(p.w.Context(), &settled) {
				return
			}
		}
	}
}

// one publishes the next event. settled is told when it is known what became of
// it.
func (p *producer) one(ctx context.Context, settled *sync.WaitGroup) bool {
	p.mu.Lock()
	n := p.published
	p.published++
	p.mu.Unlock()
	what := p.kindOf(n)
	body := bodyOf(n)
	entry, err := p.w.ledger.Publish(ledger.Event{Body: ledger.HashOf(body), Endpoints: what.endpoints, Published: time.Now()})
	if err != nil {
		p.w.Errorf("event %d: %v", n, err)
		return false
	}
	msg := &nats.Msg{Subject: what.subject, Data: body, Header: nats.Header{"Content-Type": {"application/json"}}}
	if n%2 == 0 {
		msg.Header.Set(nats.MsgIdHdr, fmt.Sprintf("event-%d", n))
	}
	first := p.send(msg)
	settled.Go(func() {
		for answer := first; ; answer = p.send(msg) {
			ack, err := answer()
			if err == nil {
				p.w.ledger.Accept(entry, ack.Stream, ack.Sequence, time.Now())
				return
			}
			if n%2 != 0 || ctx.Err() != nil {
				return
			}
			p.w.pause(20 * time.Millisecond)
		}
	})
	return true
}

// send publishes a message, and returns how to wait for what became of it. It
// blocks while very many are on their way.
func (p *producer) send(msg *nats.Msg) func() (*jetstream.PubAck, error) {
	copied := &nats.Msg{Subject: msg.Subject, Header: msg.Header, Data: msg.Data}
	// The port of a server that was killed may be that of another run by now.
	future, err := p.js.PublishMsgAsync(copied, jetstream.WithStallWait(5*time.Second), jetstream.WithExpectStream(p.w.stream))
	return func() (*jetstream.PubAck, error) {
		if err != nil {
			return nil, err
		}
		select {
		case ack := <-future.Ok():
			return ack, nil
		case err := <-future.Err():
			return nil, err
		case <-time.After(patience):
			return nil, nats.ErrTimeout
		}
	}
}

// bodyOf is the body of an event: a small one, now and then a large one.
func bodyOf(n int) []byte {
	size := 40 + n%7*50
	if n%101 == 100 {
		size = 40 << 10 // more than what the gateway writes in one piece
	}
	return fmt.Appendf(nil, `{"n":%d,"text":%q}`, n, strings.Repeat("é", size/2))
}
