package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"fanjet/internal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// collector gathers outcomes in the order in which they come.
type collector struct {
	mu   sync.Mutex
	errs []error
	all  sync.WaitGroup
}

func (c *collector) expect(n int) { c.all.Add(n) }

func (c *collector) Published(err error) {
	c.mu.Lock()
	c.errs = append(c.errs, err)
	c.mu.Unlock()
	c.all.Done()
}

func (c *collector) wait() []error {
	c.all.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errs
}

func setup(t *testing.T, cfg jetstream.StreamConfig) (*natstest.Server, jetstream.Stream) {
	t.Helper()
	s := natstest.Start(t, natstest.Options{})
	cfg.Name, cfg.Subjects = "S", []string{"s.*"}
	cfg.AllowAtomicPublish, cfg.Discard = true, jetstream.DiscardNew
	stream, err := s.JetStream().CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, stream
}

func start(t *testing.T, s *natstest.Server, o Options) *Publisher {
	t.Helper()
	o.Conn, o.Stream = s.Conn(), "S"
	p := New(o)
	p.pace = known(time.Hour, time.Microsecond) // only batches
	t.Cleanup(p.Close)
	return p
}

// startSingles starts one that makes no batches.
func startSingles(t *testing.T, s *natstest.Server, o Options) *Publisher {
	t.Helper()
	p := start(t, s, o)
	p.pace = known(time.Microsecond, time.Hour)
	return p
}

// known is the pace of a server where single messages and batches take so long.
func known(single, batch time.Duration) (p pace) {
	for range len(cost{}.last) {
		p.single.add(single)
		p.each.add(single)
		p.batch.add(batch)
	}
	p.choices = tryEvery + 1 // the next trial is far away
	return p
}

// ways are the two ways to publish.
var ways = map[string]starter{"batches": start, "singles": startSingles}

type starter = func(*testing.T, *natstest.Server, Options) *Publisher

func message(i int, id string) *nats.Msg {
	m := &nats.Msg{Subject: "s.a", Data: fmt.Appendf(nil, "%d", i), Header: nats.Header{}}
	if id != "" {
		m.Header.Set(nats.MsgIdHdr, id)
	}
	return m
}

func enqueue(t *testing.T, p *Publisher, c Completion, msgs ...*nats.Msg) {
	t.Helper()
	for _, m := range msgs {
		if err := p.Enqueue(t.Context(), m, c); err != nil {
			t.Fatal(err)
		}
	}
}

// bodies returns what the stream holds, in order. A question that gets lost when its
// connection breaks is asked again.
func bodies(t *testing.T, stream jetstream.Stream) []string {
	t.Helper()
	for giveUp := time.After(2 * time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		out, err := read(ctx, stream)
		cancel()
		if err == nil {
			return out
		}
		select {
		case <-giveUp:
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func read(ctx context.Context, stream jetstream.Stream) ([]string, error) {
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
		m, err := stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, string(m.Data))
	}
	return out, nil
}

func TestStoresInOrderInFewCommits(t *testing.T) {
	t.Parallel()
	s, stream := setup(t, jetstream.StreamConfig{})
	p := start(t, s, Options{})
	const n = 2500
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
	if p.batchSeq == 0 || p.batchSeq > n/10 {
		t.Errorf("%d atomic batches for %d messages", p.batchSeq, n)
	}
}

func TestPublishWaitsForTheAck(t *testing.T) {
	t.Parallel()
	s, stream := setup(t, jetstream.StreamConfig{})
	p := start(t, s, Options{})
	if err := p.Publish(t.Context(), message(1, "")); err != nil {
		t.Fatal(err)
	}
	if got := bodies(t, stream); len(got) != 1 {
		t.Errorf("stored %v", got)
	}
}

// A batch that is answered 10201, for one of its ids is known, stores what is
// new and counts what is known as stored.
func TestKnownIDsAreNoFailure(t *testing.T) {
	t.Parallel()
	s, stream := setup(t, jetstream.StreamConfig{})
	if _, err := s.JetStream().PublishMsg(t.Context(), message(2, "two")); err != nil {
		t.Fatal(err)
	}
	p := start(t, s, Options{})
	items := make([]item, 5)
	var c collector
	c.expect(len(items))
	for i := range items {
		id := fmt.Sprint("new-", i)
		if i == 2 {
			id = "two"
		}
		items[i] = item{msg: message(i, id), done: &c}
	}
	if err := p.tryBatch(items); classify(err) != duplicates {
		t.Fatalf("the server answered %v, not that an id is known", err)
	}
	p.send(items)
	for i, err := range c.wait() {
		if err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
	if got := strings.Join(bodies(t, stream), " "); got != "2 0 1 3 4" {
		t.Errorf("stored %s", got)
	}
}

// What JetStream refuses takes nothing with it: a batch that holds it is halved
// until it stands alone.
func TestCulpritStandsAlone(t *testing.T) {
	t.Parallel()
	s, stream := setup(t, jetstream.StreamConfig{MaxMsgSize: 1000})
	ways := []struct {
		name  string
		start starter
		opts  Options
	}{
		{"batches", start, Options{}},
		{"batches in order", start, Options{InOrder: true}},
		{"singles", startSingles, Options{}},
		{"singles in order", startSingles, Options{InOrder: true}},
	}
	for _, tt := range []struct {
		name    string
		culprit func(*nats.Msg)
		large   bool
	}{
		{"too large for the stream", func(m *nats.Msg) { m.Data = make([]byte, 2000) }, true},
		{"too large for the server", func(m *nats.Msg) { m.Data = make([]byte, 2<<20) }, true},
		{"headers too large", func(m *nats.Msg) { m.Header.Set("X", string(make([]byte, 70_000))) }, true},
		{"expects another stream", func(m *nats.Msg) { m.Header.Set("Nats-Expected-Stream", "OTHER") }, false},
		{"is a schedule", func(m *nats.Msg) { m.Header.Set("Nats-Schedule", "@at nonsense") }, false},
		{"header that cannot be written", func(m *nats.Msg) { m.Header["a b:"] = []string{"x"} }, false},
	} {
		for _, way := range ways {
			t.Run(tt.name+"/"+way.name, func(t *testing.T) {
				if err := stream.Purge(t.Context()); err != nil {
					t.Fatal(err)
				}
				p := way.start(t, s, way.opts)
				items := make([]item, 7)
				outcomes := make([]waiter, len(items))
				for i := range items {
					outcomes[i] = make(waiter, 1)
					items[i] = item{msg: message(i, fmt.Sprint(t.Name(), i)), done: outcomes[i]}
				}
				tt.culprit(items[3].msg)
				p.send(items)
				for i, o := range outcomes {
					err := <-o
					if i == 3 && (!IsRefused(err) || IsTooLarge(err) != tt.large) {
						t.Errorf("the culprit got %v", err)
					}
					if i != 3 && err != nil {
						t.Errorf("message %d got %v", i, err)
					}
				}
				if got := strings.Join(bodies(t, stream), " "); got != "0 1 2 4 5 6" {
					t.Errorf("stored %s", got)
				}
			})
		}
	}
}

func TestFullStreamHoldsUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	for name, start := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			holdsUntilThereIsRoom(t, start)
		})
	}
}

func holdsUntilThereIsRoom(t *testing.T, start starter) {
	s, stream := setup(t, jetstream.StreamConfig{MaxMsgs: 3})
	p := start(t, s, Options{})
	var c collector
	c.expect(5)
	for i := range 3 {
		enqueue(t, p, &c, message(i, ""))
	}
	waitFor(t, func() bool { return len(bodies(t, stream)) == 3 })
	enqueue(t, p, &c, message(3, ""), message(4, ""))
	waitFor(t, func() bool { return p.Held() != nil })
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, err := range c.wait() {
		if err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
	if got := strings.Join(bodies(t, stream), " "); got != "3 4" {
		t.Errorf("stored %s", got)
	}
	if err := p.Held(); err != nil {
		t.Errorf("still held: %v", err)
	}
}

func TestFullStreamIsAnAnswerWhenAskedFor(t *testing.T) {
	t.Parallel()
	for name, start := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := setup(t, jetstream.StreamConfig{MaxMsgs: 1})
			if _, err := s.JetStream().PublishMsg(t.Context(), message(0, "")); err != nil {
				t.Fatal(err)
			}
			p := start(t, s, Options{FailWhenFull: true})
			items := make([]item, 3)
			var c collector
			c.expect(len(items))
			for i := range items {
				items[i] = item{msg: message(i, ""), done: &c}
			}
			p.send(items)
			for _, err := range c.wait() {
				if !errors.Is(err, ErrFull) || IsRefused(err) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

// An answer that never comes, because the server went away in between, is no
// failure: what was stored counts, what was not is published again.
func TestServerRestartLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		start starter
		opts  Options
		n     int
	}{
		{"batches", start, Options{InOrder: true}, 3000},
		{"singles", startSingles, Options{}, 3000},
		{"singles in order", startSingles, Options{InOrder: true}, 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, stream := setup(t, jetstream.StreamConfig{})
			p := tt.start(t, s, tt.opts)
			var c collector
			c.expect(tt.n)
			var sender sync.WaitGroup
			sender.Go(func() {
				for i := range tt.n {
					if err := p.Enqueue(t.Context(), message(i, fmt.Sprint(i)), &c); err != nil {
						t.Error(err)
					}
				}
			})
			waitFor(t, func() bool { return len(bodies(t, stream)) > 0 })
			s.Restart()
			sender.Wait()
			for i, err := range c.wait() {
				if err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
			}
			got := bodies(t, stream)
			if !tt.opts.InOrder {
				slices.SortFunc(got, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
			}
			if len(got) != tt.n {
				t.Fatalf("stored %d of %d", len(got), tt.n)
			}
			for i, body := range got {
				if body != fmt.Sprint(i) {
					t.Fatalf("at place %d: %s", i, body)
				}
			}
		})
	}
}

func TestMissingStreamHolds(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, jetstream.StreamConfig{})
	if err := s.JetStream().DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	p := start(t, s, Options{})
	done := make(waiter, 1)
	enqueue(t, p, done, message(0, ""))
	waitFor(t, func() bool { return p.Held() != nil })
	p.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := p.Enqueue(t.Context(), message(1, ""), done); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed publisher answers %v", err)
	}
}

func TestEnqueueBlocksWhileTheQueueIsFull(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, jetstream.StreamConfig{})
	if err := s.JetStream().DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	p := start(t, s, Options{MaxQueue: 2})
	var c collector
	c.expect(3)
	enqueue(t, p, &c, message(0, ""))
	waitFor(t, func() bool { return p.Held() != nil }) // 0 is in flight
	enqueue(t, p, &c, message(1, ""), message(2, ""))
	ctx, cancel := context.WithCancel(t.Context())
	blocked := make(chan error)
	go func() { blocked <- p.Enqueue(ctx, message(3, ""), &c) }()
	cancel()
	if err := <-blocked; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	p.Close()
	c.wait()
}

// waitFor polls until the condition holds.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("waited too long")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// A replicated stream answers "in process" when it has not yet decided on an
// earlier message with the same id, the one whose answer was lost. That is no
// refusal: the message is on its way.
func TestIDInProcessIsNoRefusal(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	answers := []string{
		`{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"},"stream":"S","seq":0}`,
		`{"stream":"S","seq":7,"duplicate":true}`,
	}
	sub, err := s.Conn().Subscribe("s.*", func(m *nats.Msg) {
		answer := answers[0]
		answers = answers[1:]
		if err := m.Respond([]byte(answer)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	p := start(t, s, Options{})
	if err := p.Publish(t.Context(), message(1, "known")); err != nil {
		t.Error(err)
	}
}

// Messages that are too large leave no batches behind that were begun and never
// committed: the server allows 50 of them and forgets one after ten seconds.
func TestTooLargeMessagesHoldNobodyUp(t *testing.T) {
	t.Parallel()
	s, stream := setup(t, jetstream.StreamConfig{})
	p := start(t, s, Options{})
	large := make([]byte, s.Conn().MaxPayload())
	const n = 2000
	var c collector
	c.expect(n)
	for i := range n {
		m := message(i, fmt.Sprint("id-", i))
		if i%50 == 49 {
			m.Data = large
		}
		enqueue(t, p, &c, m)
	}
	refused := 0
	for _, err := range c.wait() {
		if IsTooLarge(err) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if refused != n/50 {
		t.Errorf("%d refused", refused)
	}
	if got := len(bodies(t, stream)); got != n-n/50 {
		t.Errorf("stored %d", got)
	}
	p.Close()
	if p.batchSeq > 10*n/50 {
		t.Errorf("%d batches were begun", p.batchSeq)
	}
}
