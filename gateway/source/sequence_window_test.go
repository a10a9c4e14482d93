package source

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/topology"
	"fanjet/internal/intake"
)

// What the server sent to somebody who lives no more comes after newer events.
// When those fill all the memory that there is, some are given back: the others
// have to come first.
func TestTakeoverWithAFullWindow(t *testing.T) {
	t.Parallel()
	want := topology.Consumer("c", "", "")
	want.AckWait, want.MaxAckPending = topology.MatchAckWait, topology.MatchWindow
	want.PriorityPolicy, want.PriorityGroups, want.PinnedTTL = jetstream.PriorityPolicyPinned, []string{topology.MatchGroup}, time.Minute
	const events, lost = 200, 5
	m, _, _ := matcherOf(t, want, events, make([]byte, 40<<10))
	// Somebody gets some, and is forgotten.
	nc := m.opts.Conn
	theirs, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	request := fmt.Appendf(nil, `{"batch":%d,"expires":1000000000,"group":%q}`, lost, topology.MatchGroup)
	if err := nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.EVENTS.c", theirs.Subject, request); err != nil {
		t.Fatal(err)
	}
	for range lost {
		if _, err := theirs.NextMsg(30 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nc.Request("$JS.API.CONSUMER.UNPIN.EVENTS.c", fmt.Appendf(nil, `{"group":%q}`, topology.MatchGroup), 30*time.Second); err != nil {
		t.Fatal(err)
	}

	queue := make(chan *intake.Message, topology.MatchWindow)
	in := intake.New(intake.Options{
		Conn: nc, Stream: "EVENTS", Consumer: "c", Group: topology.MatchGroup,
		Open:        func(context.Context) error { return nil },
		Handle:      func(m *intake.Message) { queue <- m },
		Beat:        topology.MatchAckWait / 3,
		WindowBytes: 1, // as little as it takes: two of the largest events
	})
	var got []uint64
	all := make(chan struct{})
	s := sequencer{
		handle: func(msg *intake.Message) {
			if got = append(got, msg.Sequence); len(got) == events {
				close(all)
			}
			msg.Ack()
		},
		settled: func() (uint64, error) { return m.settled(t.Context()) },
		holds:   func(from, before uint64) (bool, error) { return m.holds(t.Context(), from, before) },
		failed:  func(err error) { t.Log(err) },
		full:    in.Full,
		late:    func() { t.Error("it goes on without what is missing") },
	}
	ctx, cancel := context.WithCancel(t.Context())
	var receiving, working sync.WaitGroup
	receiving.Go(func() { in.Run(ctx) })
	receiving.Go(func() { in.Beat(ctx) })
	working.Go(func() { s.run(queue) })
	select {
	case <-all:
	case <-time.After(2 * takeoverWait):
		t.Error("not all events come")
	}
	cancel()
	receiving.Wait()
	close(queue)
	working.Wait()
	if !slices.IsSorted(got) {
		t.Errorf("not in order: %v", got)
	}
}
