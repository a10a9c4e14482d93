package gateway

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/intake"
)

func TestInSequence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queue := make(chan *intake.Message, 100)
		delivery := uint64(0)
		send := func(deliveries uint64, sequences ...uint64) {
			for _, seq := range sequences {
				delivery++
				queue <- &intake.Message{Sequence: seq, Deliveries: deliveries, Delivery: delivery}
			}
		}
		var mu sync.Mutex
		var got []uint64
		done := make(chan struct{})
		go func() {
			defer close(done)
			s := sequencer{handle: func(m *intake.Message) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, m.Sequence)
			}}
			s.run(queue)
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

// After a takeover nothing is handled before the events that the other matcher
// holds are settled, or come again.
func TestTakeover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queue := make(chan *intake.Message, 100)
		delivery := uint64(0)
		send := func(pin string, deliveries uint64, sequences ...uint64) {
			for _, seq := range sequences {
				delivery++
				queue <- &intake.Message{Sequence: seq, Deliveries: deliveries, Delivery: delivery, Pin: pin}
			}
		}
		var mu sync.Mutex
		var got []uint64
		var late int
		var others, away atomic.Bool
		var settled atomic.Uint64
		done := make(chan struct{})
		go func() {
			defer close(done)
			s := sequencer{
				handle: func(m *intake.Message) {
					mu.Lock()
					defer mu.Unlock()
					got = append(got, m.Sequence)
				},
				others: func(string) (bool, uint64, error) {
					if away.Load() {
						return false, 0, nats.ErrDisconnected
					}
					return others.Load(), settled.Load(), nil
				},
				late: func() { late++ },
			}
			s.run(queue)
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
		send("a", 1, 1, 2)
		expect("alone from the beginning", "[1 2]")
		others.Store(true)
		send("b", 1, 6)
		send("b", 1, 7)
		pass(takeoverWait / 2)
		expect("somebody holds older ones", "[1 2]")
		send("b", 2, 4, 3)
		send("b", 1, 8)
		others.Store(false)
		pass(takeoverLook)
		expect("they are all here", "[1 2 3 4 6 7 8]")
		send("b", 1, 9)
		expect("and the takeover is over", "[1 2 3 4 6 7 8 9]")
		others.Store(true)
		away.Store(true)
		send("c", 1, 12, 11)
		pass(3 * takeoverWait)
		expect("NATS does not tell who holds what", "[1 2 3 4 6 7 8 9]")
		away.Store(false)
		pass(takeoverWait - time.Millisecond)
		expect("another takeover", "[1 2 3 4 6 7 8 9]")
		pass(2 * takeoverLook)
		expect("it does not wait for ever", "[1 2 3 4 6 7 8 9 11 12]")
		settled.Store(12)
		send("d", 1, 14, 13, 17)
		pass(takeoverLook)
		expect("what nobody else can precede goes on", "[1 2 3 4 6 7 8 9 11 12 13 14]")
		settled.Store(16)
		pass(takeoverLook)
		close(queue)
		<-done
		expect("the end", "[1 2 3 4 6 7 8 9 11 12 13 14 17]")
		if late != 1 {
			t.Errorf("said %d times that it goes on without them", late)
		}
	})
}

// A connection that breaks takes events with it: they come again, and newer ones
// before them. The numbers of the deliveries tell.
func TestLostOnTheWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queue := make(chan *intake.Message, 100)
		send := func(delivery, deliveries, sequence uint64) {
			queue <- &intake.Message{Sequence: sequence, Deliveries: deliveries, Delivery: delivery, Pin: "a"}
		}
		var got []uint64
		var pending atomic.Bool
		var settled atomic.Uint64
		asked := make(chan struct{}) // each question waits until it is closed or written to
		s := sequencer{
			handle: func(m *intake.Message) { got = append(got, m.Sequence) },
			others: func(string) (bool, uint64, error) { <-asked; return pending.Load(), settled.Load(), nil },
			late:   func() { t.Error("it goes on without them") },
		}
		done := make(chan struct{})
		go func() { defer close(done); s.run(queue) }()
		pass := func() { <-time.After(2 * takeoverLook); synctest.Wait() } // in the bubble's time
		expect := func(when, want string) {
			t.Helper()
			if synctest.Wait(); fmt.Sprint(got) != want {
				t.Errorf("%s: %v, want %s", when, got, want)
			}
		}
		send(1, 1, 1)
		synctest.Wait()
		asked <- struct{}{} // who was before it
		expect("the first", "[1]")
		send(2, 1, 2)
		expect("nothing is missing", "[1 2]")
		pending.Store(true) // the third delivery, of event 3, is lost
		settled.Store(2)
		send(4, 1, 4)
		synctest.Wait()
		asked <- struct{}{}
		expect("another was sent before it", "[1 2]")
		pass() // it looks again, and while it looks something else is lost: event 6
		pending.Store(false)
		send(5, 2, 3)
		send(6, 1, 5)
		send(8, 1, 7)
		asked <- struct{}{}
		expect("what is known is old", "[1 2]")
		pending.Store(true)
		settled.Store(2)
		close(asked)
		pass()
		expect("what nobody else can precede goes on", "[1 2 3 4 5]")
		settled.Store(5)
		send(9, 2, 6)
		pass()
		expect("it came again", "[1 2 3 4 5 6 7]")
		pending.Store(false)
		pass()
		send(10, 1, 8)
		expect("at once again", "[1 2 3 4 5 6 7 8]")
		close(queue)
		<-done
	})
}
