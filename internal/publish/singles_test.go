package publish

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

func TestSinglesAreStoredInOrder(t *testing.T) {
	t.Parallel()
	s, stream := setup(t, jetstream.StreamConfig{})
	p := startSingles(t, s, Options{})
	const n = 3500
	var c collector
	c.expect(n)
	var want []string
	for i := range n {
		enqueue(t, p, &c, message(i, fmt.Sprint("id-", i)))
		want = append(want, fmt.Sprint(i))
	}
	for i, err := range c.wait() {
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if got := bodies(t, stream); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("stored %d messages, not the %d that were published, in order", len(got), n)
	}
	p.Close()
	if p.batchSeq != 0 {
		t.Errorf("%d atomic batches were made", p.batchSeq)
	}
}

// A batch that came to nothing leaves no trace in the messages that are then
// published singly.
func TestSinglesCarryNothingOfABatch(t *testing.T) {
	t.Parallel()
	s, stream := setup(t, jetstream.StreamConfig{})
	if _, err := s.JetStream().PublishMsg(t.Context(), message(0, "known")); err != nil {
		t.Fatal(err)
	}
	p := start(t, s, Options{})
	items := make([]item, 3)
	var c collector
	c.expect(len(items))
	for i := range items {
		items[i] = item{msg: message(i, []string{"new", "known", "newer"}[i]), done: &c}
	}
	p.send(items)
	c.wait()
	for seq := range uint64(3) {
		m, err := stream.GetMsg(t.Context(), seq+1)
		if err != nil {
			t.Fatal(err)
		}
		for name := range m.Header {
			if name != nats.MsgIdHdr {
				t.Errorf("message %d was stored with %s", seq+1, name)
			}
		}
	}
}

// What a full stream did not take as a batch can be enqueued elsewhere, and is
// no part of a batch there.
func TestFailedMessagesCanBeEnqueuedAgain(t *testing.T) {
	t.Parallel()
	s, stream := setup(t, jetstream.StreamConfig{MaxMsgs: 1})
	p := start(t, s, Options{FailWhenFull: true})
	items := make([]item, 2)
	outcomes := make([]waiter, len(items))
	for i := range items {
		outcomes[i] = make(waiter, 1)
		items[i] = item{msg: message(i, fmt.Sprint(i)), done: outcomes[i]}
	}
	msg := items[0].msg
	p.send(items)
	for _, o := range outcomes {
		if err := <-o; !errors.Is(err, ErrFull) {
			t.Fatalf("got %v", err)
		}
	}
	if err := startSingles(t, s, Options{}).Publish(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Header) != 1 {
		t.Errorf("stored with %v", m.Header)
	}
}

// responder stands for a stream: it hands every publish to the test.
func responder(t *testing.T, s *natstest.Server) <-chan *nats.Msg {
	t.Helper()
	published := make(chan *nats.Msg, 64)
	sub, err := s.Conn().ChanSubscribe("s.*", published)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	return published
}

func receive(t *testing.T, from <-chan *nats.Msg, body string) *nats.Msg {
	t.Helper()
	select {
	case m := <-from:
		if string(m.Data) != body {
			t.Fatalf("message %s was published, not %s", m.Data, body)
		}
		return m
	case <-time.After(2 * time.Minute):
		t.Fatalf("message %s was not published", body)
		return nil
	}
}

func answer(t *testing.T, m *nats.Msg, text string) {
	t.Helper()
	if err := m.Respond([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

const (
	ackStored = `{"stream":"S","seq":7}`
	ackFull   = `{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0}`
	ackOther  = `{"stream":"OTHER","seq":7}`
	ackBad    = `{"error":{"code":400,"err_code":10060,"description":"expected stream does not match"},"stream":"S","seq":0}`
)

// What is answered decides, message by message; the rest is published again.
func TestSinglesAreDecidedOneByOne(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	published := responder(t, s)
	p := startSingles(t, s, Options{})
	outcomes := make([]waiter, 5)
	items := make([]item, len(outcomes))
	for i := range items {
		outcomes[i] = make(waiter, 1)
		items[i] = item{msg: message(i, ""), done: outcomes[i]}
	}
	go p.send(items)
	answers := []string{ackStored, ackFull, ackBad, ackOther, `{"stream":"S","seq":8,"duplicate": true}`}
	var got []*nats.Msg
	for i := range answers {
		got = append(got, receive(t, published, fmt.Sprint(i)))
	}
	for i, m := range slices.Backward(got) { // in whatever order they come
		answer(t, m, answers[i])
	}
	for _, i := range []int{1, 3} {
		answer(t, receive(t, published, fmt.Sprint(i)), ackStored)
	}
	for i, o := range outcomes {
		if err := <-o; IsRefused(err) != (i == 2) || i != 2 && err != nil {
			t.Errorf("message %d got %v", i, err)
		}
	}
}

// An answer that comes after the wait was given up says nothing about another
// publish, not even of the same message.
func TestLateAnswerIsIgnored(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	published := responder(t, s)
	p := startSingles(t, s, Options{AckTimeout: 50 * time.Millisecond})
	done := make(waiter, 1)
	enqueue(t, p, done, message(1, ""))
	first := receive(t, published, "1")
	again := receive(t, published, "1")
	answer(t, first, ackStored)
	answer(t, again, ackBad)
	for {
		select {
		case err := <-done:
			if !IsRefused(err) {
				t.Errorf("got %v", err)
			}
			return
		case m := <-published: // the wait was given up again
			answer(t, m, ackBad)
		}
	}
}

// In order, nothing is published while an earlier message is not decided.
func TestInOrderNothingOvertakes(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	published := responder(t, s)
	p := startSingles(t, s, Options{InOrder: true})
	var c collector
	c.expect(4)
	for i := range 4 {
		enqueue(t, p, &c, message(i, ""))
	}
	answer(t, receive(t, published, "0"), ackStored)
	answer(t, receive(t, published, "1"), ackFull)
	answer(t, receive(t, published, "1"), ackOther)
	answer(t, receive(t, published, "1"), ackStored)
	answer(t, receive(t, published, "2"), ackBad)
	answer(t, receive(t, published, "3"), ackStored)
	for i, err := range c.wait() {
		if IsRefused(err) != (i == 2) {
			t.Errorf("message %d got %v", i, err)
		}
	}
}

// What is in flight at the close gets an answer all the same.
func TestCloseCompletesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	published := responder(t, s)
	p := startSingles(t, s, Options{})
	done := make(waiter, 1)
	enqueue(t, p, done, message(0, ""))
	receive(t, published, "0")
	p.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestPlainAck(t *testing.T) {
	t.Parallel()
	p := &Publisher{plainAck: plainAck("S"), opts: Options{Stream: "S"}}
	for text, want := range map[string]bool{
		ackStored: true,
		`{"stream":"S","seq":18446744073709551615}`: true,
		ackOther: false,
		ackFull:  false,
		ackBad:   false,
		`{"stream":"S","seq":8,"duplicate":true}`: false,
		`{"stream":"S","domain":"hub","seq":8}`:   false,
		`{"stream":"S","seq":}`:                   false,
		`{"stream":"S","seq":-1}`:                 false,
		`{"stream":"S","seq":1`:                   false,
		``:                                        false,
	} {
		if got := p.isPlainAck([]byte(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	for text, want := range map[string]bool{
		ackStored: true,
		`{"stream":"S","seq":8,"duplicate":true}`: true,
		`{"stream":"S","domain":"hub","seq":8}`:   true,
		ackOther:                                  false,
		ackFull:                                   false,
		`{"seq":8}`:                               false,
		``:                                        false,
		`+ACK`:                                    false,
		`{"stream":"S","seq":8,"batch":"b","count":2}`: false,
	} {
		if err := p.readAck(&nats.Msg{Data: []byte(text)}, "s.a", 0); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// The publisher goes over from batches to single messages and back while it
// runs, and loses the order in neither.
func TestChangingTheWayKeepsTheOrder(t *testing.T) {
	t.Parallel()
	s, stream := setup(t, jetstream.StreamConfig{})
	p := start(t, s, Options{})
	const n = 1000
	var c collector
	c.expect(n)
	for at := 0; at < n; at += 50 {
		items := make([]item, 50)
		for i := range items {
			items[i] = item{msg: message(at+i, fmt.Sprint(at+i)), done: &c}
		}
		if at/50%2 == 0 {
			p.sendBatch(items)
		} else {
			p.sendSingles(items)
		}
	}
	for _, err := range c.wait() {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, body := range bodies(t, stream) {
		if body != fmt.Sprint(i) {
			t.Fatalf("at place %d: %s", i, body)
		}
	}
}
