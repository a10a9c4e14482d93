package publish

import (
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// What the stream held before it was sent is told; what an earlier try of our own
// stored is not.
func TestKnownMessages(t *testing.T) {
	t.Parallel()
	for name, start := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := setup(t, jetstream.StreamConfig{})
			var mu sync.Mutex
			var known []int
			p := start(t, s, Options{Known: func(c Completion) {
				mu.Lock()
				defer mu.Unlock()
				known = append(known, c.(numbered).n)
			}})
			for _, i := range []int{2, 5, 7} {
				if _, err := s.JetStream().PublishMsg(t.Context(), message(i, strconv.Itoa(i))); err != nil {
					t.Fatal(err)
				}
			}
			var c collector
			c.expect(10)
			items := make([]item, 10)
			for i := range items {
				items[i] = item{msg: message(i, strconv.Itoa(i)), done: numbered{&c, i}, tried: i == 7}
			}
			p.send(items)
			for _, err := range c.wait() {
				if err != nil {
					t.Error(err)
				}
			}
			if slices.Sort(known); !slices.Equal(known, []int{2, 5}) {
				t.Errorf("known are %v, want 2 and 5; 7 was tried before", known)
			}
		})
	}
}

// numbered is a completion that says whose it is.
type numbered struct {
	*collector
	n int
}
