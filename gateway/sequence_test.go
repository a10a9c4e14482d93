package gateway

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fanjet/internal/intake"
)

func TestInSequence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queue := make(chan *intake.Message, 100)
		send := func(deliveries uint64, sequences ...uint64) {
			for _, seq := range sequences {
				queue <- &intake.Message{Sequence: seq, Deliveries: deliveries}
			}
		}
		var mu sync.Mutex
		var got []uint64
		done := make(chan struct{})
		go func() {
			defer close(done)
			inSequence(queue, func(m *intake.Message) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, m.Sequence)
			})
		}()
		pass := func(d time.Duration) { <-time.After(d) } // in the bubble's time
		expect := func(when, want string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if fmt.Sprint(got) != want {
				t.Errorf("%s: %v, want %s", when, got, want)
			}
		}
		send(1, 1, 2)
		expect("new ones at once", "[1 2]")
		send(2, 5, 6, 3, 4)
		expect("others are gathered", "[1 2]")
		pass(redeliveryGap - 1)
		send(3, 7)
		pass(redeliveryGap - 1)
		expect("as long as they come", "[1 2]")
		pass(1)
		expect("and then sorted", "[1 2 3 4 5 6 7]")
		send(2, 9, 8)
		send(1, 10)
		expect("a new one ends the gathering", "[1 2 3 4 5 6 7 8 9 10]")
		send(2, 12, 11)
		close(queue)
		<-done
		expect("so does the end", "[1 2 3 4 5 6 7 8 9 10 11 12]")
	})
}
