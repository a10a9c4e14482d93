package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/gateway/topology"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// markDesk is a state bucket with one key, whose writes a test holds up or fails.
type markDesk struct {
	jetstream.KeyValue
	mu       sync.Mutex
	value    []byte
	revision uint64
	fail     error
	lose     bool // the answer to the next write
	gate     chan struct{}
	writes   int
}

type markEntry struct {
	jetstream.KeyValueEntry
	value    []byte
	revision uint64
}

func (e markEntry) Value() []byte    { return e.value }
func (e markEntry) Revision() uint64 { return e.revision }
func (e markEntry) Key() string      { return "k" }
func (e markEntry) Bucket() string   { return "b" }

func (d *markDesk) Get(context.Context, string) (jetstream.KeyValueEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return markEntry{value: d.value, revision: d.revision}, nil
}

func (d *markDesk) Update(ctx context.Context, _ string, value []byte, revision uint64) (uint64, error) {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes++
	if d.fail != nil {
		return 0, d.fail
	}
	if revision != d.revision {
		return 0, &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence}
	}
	d.value, d.revision = value, d.revision+1
	if d.lose {
		d.lose = false
		return 0, errors.New("no answer")
	}
	return d.revision, nil
}

// upTo is what the bucket says.
func (d *markDesk) upTo() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var m wire.Mark
	if json.Unmarshal(d.value, &m) != nil {
		return 0
	}
	return m.UpTo
}

// written writes a mark as somebody does.
func (d *markDesk) written(m wire.Mark) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.value, _ = json.Marshal(m)
	d.revision++
}

// ownedMark is a mark that is ours.
func ownedMark(upto uint64) (*mark, *markDesk) {
	d := &markDesk{}
	k := &mark{state: d, stream: "EVENTS", log: zap.NewNop(), by: "us"}
	k.value = wire.Mark{Created: time.Unix(1, 0).UTC(), UpTo: upto, By: "us"}
	d.written(k.value)
	k.revision = d.revision
	k.upto.Store(upto)
	k.owned.Store(true)
	return k, d
}

// The mark is raised when half of what it is ahead is used up, and nobody waits for it.
func TestMarkIsRaisedAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, d := ownedMark(markAhead)
		k.reach(t.Context(), markAhead/2-1)
		synctest.Wait()
		if d.writes != 0 {
			t.Error("it is raised too early")
		}
		d.gate = make(chan struct{})
		began := time.Now()
		k.reach(t.Context(), markAhead/2)
		k.reach(t.Context(), markAhead) // the last one that it covers
		if time.Since(began) != 0 {
			t.Error("an event waited that the mark covers")
		}
		close(d.gate)
		k.begun.Wait()
		if d.writes != 1 || d.upTo() != markAhead/2+markAhead || k.upto.Load() != d.upTo() || k.again(markAhead) {
			t.Errorf("%d writes, up to %d", d.writes, d.upTo())
		}
		d.lose = true // and the answer to the next one
		k.reach(t.Context(), markAhead+markAhead/2)
		k.begun.Wait()
		if d.writes != 3 || k.upto.Load() != d.upTo() || k.again(1) {
			t.Errorf("after a lost answer %d writes, up to %d of %d", d.writes, k.upto.Load(), d.upTo())
		}
		k.reach(t.Context(), 3*markAhead/2+markAhead/2+1)
		k.begun.Wait()
		if k.upto.Load() != d.upTo() || d.upTo() < 3*markAhead || !k.owned.Load() {
			t.Errorf("it cannot be raised any more: up to %d of %d", k.upto.Load(), d.upTo())
		}
	})
}

// An event that the mark does not cover waits until it does, also if it is far ahead of
// what is being stored.
func TestEventWaitsForTheMark(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, d := ownedMark(markAhead)
		d.gate = make(chan struct{})
		k.reach(t.Context(), markAhead) // begins to raise
		const far = 10 * markAhead
		went := make(chan uint64, 1)
		go func() { k.reach(t.Context(), far); went <- d.upTo() }()
		synctest.Wait()
		if len(went) != 0 {
			t.Fatal("it did not wait")
		}
		close(d.gate)
		if upto := <-went; upto < far || !k.owned.Load() || k.again(far) {
			t.Errorf("it went on with the mark at %d, ours: %v", upto, k.owned.Load())
		}
		k.begun.Wait()
	})
}

// While NATS takes no write an event waits for so long, and then direct delivery is off
// until the mark is claimed again. A stop ends the wait.
func TestMarkCannotBeRaised(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, d := ownedMark(markAhead)
		d.fail = errors.New("no quorum")
		began := time.Now()
		k.reach(t.Context(), markAhead+1)
		if time.Since(began) != markWait || k.owned.Load() || !k.again(markAhead+1) {
			t.Errorf("after %s it is ours: %v", time.Since(began), k.owned.Load())
		}
		k.reach(t.Context(), markAhead+2) // does not wait
		if time.Since(began) != markWait {
			t.Error("the next event waits")
		}
		if !k.isFree(time.Now()) {
			t.Error("it is not to be claimed again")
		}
		k.begun.Wait()
		if n := d.writes; n < 10 || n > 100 {
			t.Errorf("%d writes were tried", n)
		}

		k, d = ownedMark(markAhead)
		d.fail = errors.New("no quorum")
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		began = time.Now()
		k.reach(ctx, markAhead+1)
		k.begun.Wait()
		if time.Since(began) != time.Second {
			t.Errorf("a stop waited for %s", time.Since(began))
		}
	})
}

// A matcher whose mark somebody else claimed delivers nothing directly from the next raise
// on, for a while: if events come to it still, it claims the mark again.
func TestMarkIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, d := ownedMark(markAhead)
		theirs := wire.Mark{Created: time.Unix(1, 0).UTC(), UpTo: 3 * markAhead, By: "them"}
		d.written(theirs)
		if k.again(1) {
			t.Error("nobody told yet")
		}
		k.reach(t.Context(), markAhead+1)
		k.begun.Wait()
		if k.owned.Load() || !k.again(1<<60) || d.upTo() != theirs.UpTo || d.writes != 1 {
			t.Errorf("ours: %v; the bucket says %d after %d writes", k.owned.Load(), d.upTo(), d.writes)
		}
		if k.isFree(time.Now().Add(claimLost - 1)) {
			t.Error("it is claimed again at once")
		}
		if !k.isFree(time.Now().Add(claimLost)) {
			t.Error("it is never claimed again")
		}
	})
}

// A raise that ends after the mark was claimed anew changes nothing.
func TestRaiseOfAClaimBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, d := ownedMark(markAhead)
		d.gate = make(chan struct{})
		k.reach(t.Context(), markAhead)
		synctest.Wait()
		k.mu.Lock() // as tryClaim does it
		k.claims++
		k.value.UpTo = 9 * markAhead
		d.written(k.value)
		k.revision = d.revision
		k.upto.Store(k.value.UpTo)
		k.mu.Unlock()
		close(d.gate)
		k.begun.Wait()
		if !k.owned.Load() || k.lost || k.upto.Load() != 9*markAhead || d.upTo() != 9*markAhead {
			t.Errorf("ours: %v, up to %d of %d", k.owned.Load(), k.upto.Load(), d.upTo())
		}
		k.reach(t.Context(), 9*markAhead)
		k.begun.Wait()
		if d.upTo() != 10*markAhead {
			t.Errorf("it cannot be raised any more: %d", d.upTo())
		}
	})
}

// What a mark says of a stream decides which events may have been handled.
func TestMarkIsClaimed(t *testing.T) {
	t.Parallel()
	created, other := time.Unix(100, 0).UTC(), time.Unix(50, 0).UTC()
	const from, last = 300, 100_000 // a long backlog
	for name, tt := range map[string]struct {
		was   *wire.Mark
		fresh bool
		limit uint64 // up to it they may
		upto  uint64 // what is stored
		sent  uint64 // what the consumer handed out
	}{
		"none, and nobody got an event":            {nil, true, 0, from + markAhead, 0},
		"none, and somebody did":                   {nil, false, last, last, 0},
		"below the end":                            {&wire.Mark{Created: created, UpTo: 400, By: "them"}, false, 400, from + markAhead, 0},
		"below what an earlier version handed out": {&wire.Mark{Created: created, UpTo: 400, By: "them"}, false, 500 + topology.MatchWindow, from + markAhead, 500},
		"past the end":                             {&wire.Mark{Created: created, UpTo: 190_000, By: "them"}, false, last, 190_000, 0},
		"of a consumer made anew":                  {&wire.Mark{Created: created, UpTo: 190_000, By: "them"}, true, last, 190_000, 0},
		"of a stream before":                       {&wire.Mark{Created: other, UpTo: 190_000, By: "them"}, false, last, last, 0},
		"of a stream before, fresh":                {&wire.Mark{Created: other, UpTo: 190_000, By: "them"}, true, 0, from + markAhead, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natstest.Start(t, natstest.Options{})
			bucket, err := server.JetStream().CreateKeyValue(t.Context(), topology.StateBucket(wire.NewNames(""), 1))
			if err != nil {
				t.Fatal(err)
			}
			key := wire.MarkKey("EVENTS")
			if tt.was != nil {
				value, err := json.Marshal(tt.was)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := bucket.Put(t.Context(), key, value); err != nil {
					t.Fatal(err)
				}
			}
			claimed := func(by string, fail error) *mark {
				k := &mark{state: bucket, stream: "EVENTS", nc: server.Conn(), log: zap.NewNop(), by: by}
				k.claim(t.Context(), created, from, tt.fresh, func(context.Context) (reached, error) { return reached{last, tt.sent}, fail })
				return k
			}
			if k := claimed("nobody", errors.New("no leader")); k.owned.Load() || !k.again(1<<60) || k.isFree(time.Now()) || !k.isFree(time.Now().Add(claimEvery)) {
				t.Error("it was claimed without knowing the end of the stream")
			}
			k := claimed("us", nil)
			if !k.owned.Load() || k.again(tt.limit+1) || tt.limit > 0 && !k.again(tt.limit) {
				t.Errorf("ours: %v, up to %d events may have been handled, want %d", k.owned.Load(), k.limit.Load(), tt.limit)
			}
			entry, err := bucket.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if now, err := readMark(entry); err != nil || now.UpTo != tt.upto || !now.Created.Equal(created) || now.By != "us" {
				t.Errorf("stored %+v, want up to %d: %v", now, tt.upto, err)
			}
			k.reach(t.Context(), tt.upto) // it can be raised
			k.begun.Wait()
			if k.upto.Load() != tt.upto+markAhead {
				t.Errorf("raised to %d", k.upto.Load())
			}
			claimed("them", nil)
			k.reach(t.Context(), tt.upto+markAhead)
			k.begun.Wait()
			if k.owned.Load() {
				t.Error("it is another one's, and ours")
			}
		})
	}
}

// Several matchers that claim the mark at the same time do not all have it: when each has
// tried to raise it, one is left, and knows how far the others came.
func TestMarkIsClaimedAtOnce(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	bucket, err := server.JetStream().CreateKeyValue(t.Context(), topology.StateBucket(wire.NewNames(""), 1))
	if err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		const last = 50
		stream := fmt.Sprintf("EVENTS%d", round)
		var all []*mark
		var claims sync.WaitGroup
		for i := range 4 {
			k := &mark{state: bucket, stream: stream, nc: server.Conn(), log: zap.NewNop(), by: fmt.Sprint(i)}
			all = append(all, k)
			claims.Go(func() {
				k.claim(t.Context(), time.Unix(1, 0).UTC(), last, false, func(context.Context) (reached, error) {
					return reached{last, last - 1}, nil
				})
			})
		}
		claims.Wait()
		entry, err := bucket.Get(t.Context(), wire.MarkKey(stream))
		if err != nil {
			t.Fatal(err)
		}
		there, err := readMark(entry)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range all {
			k.reach(t.Context(), k.upto.Load())
			k.begun.Wait()
			if owned, want := k.owned.Load(), k.by == there.By; owned != want {
				t.Errorf("round %d: %s has it: %v; the bucket says %s", round, k.by, owned, there.By)
			}
			if !k.again(last) {
				t.Errorf("round %d: %s takes events for new that others may have handled", round, k.by)
			}
		}
	}
}
