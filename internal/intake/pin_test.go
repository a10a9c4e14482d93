package intake

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// pinned is a stream whose consumer has a priority group that pins one client.
func pinned(t *testing.T) (*natstest.Server, jetstream.JetStream) {
	t.Helper()
	server := natstest.Start(t, natstest.Options{})
	js := server.JetStream()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{
		Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxAckPending: 100,
		PriorityPolicy: jetstream.PriorityPolicyPinned, PriorityGroups: []string{"g"}, PinnedTTL: 5 * time.Second,
	}); err != nil {
		t.Fatal(err)
	}
	return server, js
}

// member is an intake that is one of a group.
type member struct {
	got  chan *Message
	stop func()
}

func join(t *testing.T, server *natstest.Server) *member {
	t.Helper()
	m := &member{got: make(chan *Message, 100)}
	in := New(Options{
		Conn: server.Connect(), Stream: "S", Consumer: "c", Group: "g",
		Open:   func(context.Context) error { return nil },
		Handle: func(msg *Message) { m.got <- msg },
		Beat:   20 * time.Second,
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { in.Run(ctx) })
	m.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(m.stop)
	return m
}

func publishTo(t *testing.T, js jetstream.JetStream, msg *nats.Msg) {
	t.Helper()
	msg.Subject = "s"
	if _, err := js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, from <-chan *Message) *Message {
	t.Helper()
	select {
	case m := <-from:
		return m
	case <-time.After(time.Minute):
		t.Fatal("no message comes")
		return nil
	}
}

// A producer can store the header with which the server tells a client that it is
// pinned. What the server says counts.
func TestForgedPin(t *testing.T) {
	t.Parallel()
	server, js := pinned(t)
	a := join(t, server)
	publishTo(t, js, &nats.Msg{})
	pin := next(t, a.got).Pin
	if pin == "" {
		t.Fatal("the server pinned nobody")
	}
	for i := range 3 {
		publishTo(t, js, &nats.Msg{Header: nats.Header{headerPinID: {"forged"}}, Data: fmt.Append(nil, i)})
		m := next(t, a.got)
		if m.Pin != pin {
			t.Errorf("the pin of message %d is %q, want %q", i, m.Pin, pin)
		}
		m.Ack()
	}
	publishTo(t, js, &nats.Msg{}) // with a wrong pin nothing comes any more
	if m := next(t, a.got); m.Pin != pin {
		t.Errorf("the pin is %q then", m.Pin)
	}
}

// A client that is pinned no more, because it was silent or somebody unpinned it,
// waits like the others, and gets messages again when its turn comes.
func TestUnpinned(t *testing.T) {
	t.Parallel()
	server, js := pinned(t)
	members := []*member{join(t, server)}
	publishTo(t, js, &nats.Msg{})
	next(t, members[0].got).Ack()
	members = append(members, join(t, server))
	for range 4 { // whoever of them is pinned then
		if _, err := js.Conn().Request("$JS.API.CONSUMER.UNPIN.S.c", []byte(`{"group":"g"}`), 30*time.Second); err != nil {
			t.Fatal(err)
		}
		publishTo(t, js, &nats.Msg{})
		select {
		case m := <-members[0].got:
			m.Ack()
		case m := <-members[1].got:
			m.Ack()
		case <-time.After(time.Minute):
			t.Fatal("neither gets messages")
		}
	}
	// Each of them alone gets what comes.
	members[1].stop()
	publishTo(t, js, &nats.Msg{})
	next(t, members[0].got).Ack()
	members = append(members, join(t, server))
	members[0].stop()
	publishTo(t, js, &nats.Msg{})
	next(t, members[2].got).Ack()
}

// What the server says about a request.
func TestStatuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		code, description string
		done, wrong, pin  bool // pin: it keeps its own
	}{
		"still there":             {"100", "Idle Heartbeat", false, false, true},
		"nothing came":            {"408", "Request Timeout", true, false, true},
		"no messages":             {"404", "No Messages", true, false, true},
		"another one is pinned":   {"423", "Nats-Wrong-Pin-Id", true, false, false},
		"nobody answers":          {"503", "", true, true, true},
		"the batch is complete":   {"409", "Batch Completed", true, false, true},
		"too little room":         {"409", "Message Size Exceeds MaxBytes", true, true, true},
		"the server stops":        {"409", "Server Shutdown", true, true, true},
		"another server leads":    {"409", "Leadership Change", true, true, true},
		"the consumer is deleted": {"409", "Consumer Deleted", true, true, true},
		"something new":           {"499", "?", true, true, true},
	} {
		p := &puller{pinID: "mine"}
		done, err := p.status(&nats.Msg{Header: nats.Header{headerStatus: {tt.code}, headerDescription: {tt.description}}})
		if done != tt.done || (err != nil) != tt.wrong || (p.pinID == "mine") != tt.pin {
			t.Errorf("%s: over %v, %v, pin %q", name, done, err, p.pinID)
		}
	}
}
