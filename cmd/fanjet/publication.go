package main

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"fanjet/internal/broker"
)

const (
	// ackTimeout is how long one acknowledgement may take.
	ackTimeout = 10 * time.Second
	// publishWindow is how many events may wait for their acknowledgement at
	// once.
	publishWindow = 256
)

// publication is what `publish` sends.
type publication struct {
	subject string
	data    []byte
	header  nats.Header
	id      string  // Nats-Msg-Id; empty: none
	count   int     // of events
	rate    float64 // events per second; 0: no limit
}

// published counts the events that were acknowledged.
type published struct {
	count, duplicates int
	first, last       *jetstream.PubAck
}

// send publishes and waits for every acknowledgement. After an error, and when
// ctx ends, it publishes no more, but still waits for the events that are under
// way: what it returns is what happened.
func (p publication) send(ctx context.Context, js jetstream.JetStream) (published, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	futures := make(chan jetstream.PubAckFuture, publishWindow)
	go func() {
		defer close(futures)
		if err := p.produce(ctx, js, futures); err != nil {
			stop(err)
		}
	}()
	// What NATS refuses is never acknowledged.
	refused := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		if broker.Refusal(ctx) != nil {
			close(refused)
		}
	})()
	var done published
	for future := range futures {
		select {
		case ack := <-future.Ok():
			done.add(ack)
		case err := <-future.Err():
			stop(err)
		case <-refused:
		}
	}
	if done.count < p.count {
		return done, context.Cause(ctx)
	}
	return done, nil
}

// produce publishes one event after the other, at the rate, and not more than
// the window ahead of the acknowledgements.
func (p publication) produce(ctx context.Context, js jetstream.JetStream, futures chan<- jetstream.PubAckFuture) error {
	limiter := rate.NewLimiter(rate.Inf, 1)
	if p.rate > 0 {
		limiter.SetLimit(rate.Limit(p.rate))
	}
	for n := range p.count {
		if err := limiter.Wait(ctx); err != nil {
			return err
		}
		future, err := js.PublishMsgAsync(p.message(n+1), jetstream.WithStallWait(ackTimeout))
		if err != nil {
			return err
		}
		futures <- future
	}
	return nil
}

// message makes the n-th event, counted from 1. When there are several, each has
// an id of its own.
func (p publication) message(n int) *nats.Msg {
	msg := &nats.Msg{Subject: p.subject, Data: p.data, Header: maps.Clone(p.header)}
	if p.id != "" {
		id := p.id
		if p.count > 1 {
			id += "-" + strconv.Itoa(n)
		}
		msg.Header[nats.MsgIdHdr] = []string{id}
	}
	return msg
}

func (p *published) add(ack *jetstream.PubAck) {
	p.count++
	if ack.Duplicate {
		p.duplicates++
	}
	if p.first == nil {
		p.first = ack
	}
	p.last = ack
}

// String says how many events are stored, and where: STREAM/sequence.
func (p published) String() string {
	if p.count == 1 {
		text := fmt.Sprintf("%s/%d", p.last.Stream, p.last.Sequence)
		if p.duplicates > 0 {
			text += " (stored before, with the same id)"
		}
		return text
	}
	text := fmt.Sprintf("%d events, %s/%d to %d", p.count, p.first.Stream, p.first.Sequence, p.last.Sequence)
	if p.duplicates > 0 {
		text += fmt.Sprintf(" (%d of them stored before, with the same ids)", p.duplicates)
	}
	return text
}
