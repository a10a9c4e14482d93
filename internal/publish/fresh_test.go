package publish

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// aging is the completion of a message that may be asked for so many times
// before it is stale.
type aging struct {
	left    atomic.Int64
	outcome chan error
}

func (a *aging) Published(err error) { a.outcome <- err }

func newAging(times int64) *aging {
	a := &aging{outcome: make(chan error, 1)}
	a.left.Store(times)
	return a
}

func fresh(c Completion) bool { return c.(*aging).left.Add(-1) >= 0 }

const always = 1 << 40

// What is stale is not sent, and the others are; also when it becomes stale while
// a batch is being made.
func TestStaleMessagesAreNotSent(t *testing.T) {
	t.Parallel()
	for name, start := range ways {
		for after := range int64(3) {
			t.Run(fmt.Sprintf("%s after %d", name, after), func(t *testing.T) {
				t.Parallel()
				s, stream := setup(t, jetstream.StreamConfig{})
				p := start(t, s, Options{Fresh: fresh})
				items, all := make([]item, 10), make([]*aging, 10)
				for i := range items {
					if all[i] = newAging(always); i%2 == 1 {
						all[i].left.Store(after)
					}
					items[i] = item{msg: message(i, ""), done: all[i]}
				}
				p.send(items)
				var want []string
				for i, a := range all {
					switch err := <-a.outcome; {
					case errors.Is(err, ErrStale):
						if i%2 == 0 {
							t.Errorf("message %d is not stale", i)
						}
					case err != nil:
						t.Errorf("message %d: %v", i, err)
					default:
						want = append(want, fmt.Sprint(i))
					}
				}
				if got := bodies(t, stream); !slices.Equal(got, want) {
					t.Errorf("stored %v, want those that succeeded, %v", got, want)
				}
				// Two questions come before the commit of a batch, one before a message.
				if wantAll := map[string]int64{"batches": 2, "singles": 1}[name]; (after < wantAll) != (len(want) == 5) {
					t.Errorf("%d messages were stored", len(want))
				}
			})
		}
	}
}

// What becomes stale while it is held does not wait for room.
func TestStaleAfterAHold(t *testing.T) {
	t.Parallel()
	for name, start := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			full := jetstream.StreamConfig{MaxMsgs: 1}
			s, stream := setup(t, full)
			if _, err := s.JetStream().PublishMsg(t.Context(), message(0, "")); err != nil {
				t.Fatal(err)
			}
			p := start(t, s, Options{Fresh: fresh})
			var all []*aging
			for i := range 5 {
				a := newAging(always)
				all = append(all, a)
				enqueue(t, p, a, message(i+1, ""))
			}
			waitFor(t, func() bool { return p.Held() != nil })
			for _, a := range all {
				a.left.Store(0)
			}
			for i, a := range all {
				if err := <-a.outcome; !errors.Is(err, ErrStale) {
					t.Errorf("message %d: %v", i+1, err)
				}
			}
			if got := bodies(t, stream); len(got) != 1 {
				t.Errorf("stored %v, want what was there", got)
			}
		})
	}
}
