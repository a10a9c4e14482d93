package publish

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// A connection that is lost ends the wait for an answer at once, however long it may
// take: what is in flight is published again on the next one, as a batch and as a
// single message.
func TestLostConnectionEndsTheWait(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		start starter
		ack   string
	}{
		"batches": {start, `{"stream":"S","seq":8,"batch":"b","count":2}`},
		"singles": {startSingles, ackStored},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, natstest.Options{})
			published := responder(t, s)
			p := tt.start(t, s, Options{AckTimeout: 24 * time.Hour})
			var c collector
			c.expect(2)
			items := []item{{msg: message(0, ""), done: &c}, {msg: message(1, ""), done: &c}}
			sent := make(chan struct{})
			go func() { defer close(sent); p.send(items) }()
			receive(t, published, "0")
			receive(t, published, "1")
			s.Stop()
			waitFor(t, func() bool { return p.Held() != nil })
			s.Resume()
			again := receive(t, published, "0")
			last := receive(t, published, "1")
			if name == "singles" {
				answer(t, again, tt.ack)
			}
			answer(t, last, tt.ack)
			<-sent
			for i, err := range c.wait() {
				if err != nil {
					t.Errorf("message %d got %v", i, err)
				}
			}
		})
	}
}

// The queue has room for so many bytes, and for one message that is larger than all of
// it; a batch likewise.
func TestQueueIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	sized := func(n int) item {
		m := message(0, "")
		m.Data = make([]byte, n-(m.Size()-len(m.Data)))
		return item{msg: m, size: n}
	}
	for name, tt := range map[string]struct {
		waiting []int
		next    int
		full    bool
		batch   int // messages of what waits
	}{
		"empty":             {nil, 5000, false, 0},
		"room":              {[]int{400, 300}, 300, false, 2},
		"one byte too many": {[]int{400, 300}, 301, true, 2},
		"a batch is full":   {[]int{300, 200, 100}, 100, false, 2},
		"a large first one": {[]int{900, 50}, 50, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &Publisher{opts: Options{MaxQueueBytes: 1000, MaxBatchBytes: 500}}
			if name == "room" || name == "one byte too many" {
				p.opts.MaxBatchBytes = 700
			}
			p.opts.setDefaults()
			p.room.L = &p.mu
			total := 0
			for _, n := range tt.waiting {
				it := sized(n)
				if p.full(it) {
					t.Fatalf("%d bytes do not fit beside %d", n, p.bytes)
				}
				p.queue, p.bytes = append(p.queue, it), p.bytes+it.size
				total += n
			}
			if full := p.full(sized(tt.next)); full != tt.full {
				t.Errorf("full for %d bytes beside %d: %v, want %v", tt.next, p.bytes, full, tt.full)
			}
			batch := p.take(nil)
			for _, it := range batch {
				total -= it.size
			}
			if len(batch) != tt.batch || p.bytes != total || len(p.queue) != len(tt.waiting)-tt.batch {
				t.Errorf("a batch of %d; %d messages, %d bytes are left; want a batch of %d, %d bytes", len(batch), len(p.queue), p.bytes, tt.batch, total)
			}
		})
	}
}

// Which answers say that a message will never be stored.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	api := func(status int, code jetstream.ErrorCode) error {
		return fmt.Errorf("storing: %w", &jetstream.APIError{Code: status, ErrorCode: code})
	}
	for name, tt := range map[string]struct {
		err  error
		want class
	}{
		"none":                    {nil, stored},
		"no answer":               {nats.ErrTimeout, held},
		"nobody there":            {nats.ErrNoResponders, held},
		"connection lost":         {errReset, held},
		"too large for NATS":      {nats.ErrMaxPayload, refused},
		"a bad subject":           {nats.ErrBadSubject, refused},
		"a bad header":            {nats.ErrBadHeaderMsg, refused},
		"below the client errors": {api(399, 1), held},
		"the first client error":  {api(400, 1), refused},
		"too slow":                {api(408, 1), held},
		"too often":               {api(429, 1), held},
		"the last client error":   {api(499, 1), refused},
		"the first server error":  {api(500, 1), held},
		"not available":           {api(503, 1), held},
		"known in a batch":        {api(400, codeBatchDuplicate), duplicates},
		"not decided yet":         {api(409, codeIDInProcess), held},
		"sealed":                  {api(400, codeStreamSealed), held},
		"too large for a stream":  {api(400, codeMessageTooLarge), refused},
		"no storage":              {api(500, codeStorageExceeded), full},
		"a full stream":           {api(503, codeStoreFailed), full},
	} {
		if got := classify(tt.err); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
		if IsRefused(tt.err) != (tt.want == refused) {
			t.Errorf("%s: refused %v", name, IsRefused(tt.err))
		}
	}
}

// A batch of which one message is left, because the others became stale, stores that
// one alone; one of which none is left stores nothing, and everybody hears.
func TestBatchOfWhichOneIsLeft(t *testing.T) {
	t.Parallel()
	s, stream := setup(t, jetstream.StreamConfig{})
	p := start(t, s, Options{Fresh: fresh})
	for left := range 2 {
		items, all := make([]item, 3), make([]*aging, 3)
		for i := range items {
			if all[i] = newAging(0); i < left {
				all[i] = newAging(always)
			}
			items[i] = item{msg: message(i, ""), done: all[i]}
		}
		p.sendBatch(items)
		for i, a := range all {
			if err := <-a.outcome; (i < left) != (err == nil) {
				t.Errorf("message %d got %v; %d are left", i, err, left)
			}
		}
		if n := len(bodies(t, stream)); n != left {
			t.Errorf("%d messages are stored, %d were left", n, left)
		}
	}
}

// What waits in the queue when a publisher is closed, and who waits for room in it,
// hears that it was closed; nothing is sent any more.
func TestCloseCompletesTheQueue(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	published := responder(t, s)
	p := startSingles(t, s, Options{MaxBatch: 1, MaxQueue: 2})
	var c collector
	c.expect(3)
	enqueue(t, p, &c, message(0, ""))
	receive(t, published, "0") // it is in flight
	enqueue(t, p, &c, message(1, ""), message(2, ""))
	blocked := make(chan error, 1)
	go func() { blocked <- p.Enqueue(t.Context(), message(3, ""), &c) }()
	p.Close()
	c.mu.Lock()
	if len(c.errs) != 3 {
		t.Errorf("%d of 3 messages have heard when Close returns", len(c.errs))
	}
	c.mu.Unlock()
	if err := <-blocked; err != ErrClosed { //nolint:errorlint // it is this one
		t.Errorf("who waited for room got %v", err)
	}
	errs := c.wait()
	if fmt.Sprint(errs) != fmt.Sprint([]error{ErrClosed, ErrClosed, ErrClosed}) {
		t.Errorf("got %v", errs)
	}
	if len(published) != 0 {
		t.Errorf("%s was sent after the end", (<-published).Data)
	}
	if err := p.Enqueue(t.Context(), message(4, ""), &c); err == nil {
		t.Error("a closed publisher takes a message")
	}
}
