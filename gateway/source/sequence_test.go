package source

import (
	"fmt"
	"sync"
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

// sequencing runs a sequencer over the events of a source, in a bubble of time.
type sequencing struct {
	*testing.T
	queue    chan *intake.Message
	delivery uint64
	done     chan struct{}

	mu      sync.Mutex
	got     []uint64
	late    int
	settled uint64
	away    bool            // NATS does not answer
	deleted map[uint64]bool // from the source
	asks    int             // how often it was asked whether something is missing
	asked   chan struct{}   // each question waits until it is written to; nil: it does not
}

// sequenced runs a test of a sequencer, and closes its queue at the end.
func sequenced(t *testing.T, test func(q *sequencing)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newSequencing(t)
		test(q)
		close(q.queue)
		<-q.done
	})
}

func newSequencing(t *testing.T) *sequencing {
	q := &sequencing{T: t, queue: make(chan *intake.Message, 100), done: make(chan struct{}), deleted: map[uint64]bool{}}
	s := sequencer{
		handle: func(m *intake.Message) {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.got = append(q.got, m.Sequence)
		},
		settled: func() (uint64, error) {
			q.mu.Lock()
			asked := q.asked
			q.mu.Unlock()
			if asked != nil {
				<-asked
			}
			q.mu.Lock()
			defer q.mu.Unlock()
			if q.away {
				return 0, nats.ErrDisconnected
			}
			return q.settled, nil
		},
		holds: func(from, before uint64) (bool, error) {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.asks++
			for ; from < before; from++ {
				if !q.deleted[from] {
					return true, nil
				}
			}
			return false, nil
		},
		failed: func(error) {},
		full:   func() bool { return false },
		late:   func() { q.late++ },
	}
	go func() { defer close(q.done); s.run(q.queue) }()
	return q
}

// send sends events under a pin; deliveries is how often each was sent by now.
func (q *sequencing) send(pin string, deliveries uint64, sequences ...uint64) {
	for _, seq := range sequences {
		q.delivery++
		q.queue <- &intake.Message{Sequence: seq, Stored: time.Now(), Deliveries: deliveries, Delivery: q.delivery, Pin: pin}
	}
}

// lose sends events that do not arrive.
func (q *sequencing) lose(n uint64) { q.delivery += n }

// set changes what NATS answers.
func (q *sequencing) set(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
}

func (q *sequencing) settle(up uint64) { q.set(func() { q.settled = up }) }

func (q *sequencing) pass(d time.Duration) { <-time.After(d) } // in the bubble's time

// look passes the time until it has looked again.
func (q *sequencing) look() { q.pass(takeoverLookMost); synctest.Wait() }

func (q *sequencing) expect(when, want string) {
	q.Helper()
	q.pass(time.Millisecond) // a timer may be due
	synctest.Wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	if fmt.Sprint(q.got) != want {
		q.Errorf("%s: %v, want %s", when, q.got, want)
	}
	q.got = nil
}

// After a takeover nothing is handled before the events that the other matcher
// holds are settled, or come again.
func TestTakeover(t *testing.T) {
	sequenced(t, func(q *sequencing) {
		q.send("a", 1, 1, 2)
		q.expect("alone from the beginning", "[1 2]")
		q.settle(2)
		q.send("b", 1, 6)
		q.send("b", 1, 7)
		q.pass(takeoverWait / 2)
		q.expect("somebody holds older ones", "[]")
		q.send("b", 2, 4, 3)
		q.send("b", 1, 8)
		q.look()
		q.expect("as far as nothing is missing", "[3 4]")
		q.settle(5)
		q.look()
		q.expect("what was missing is settled", "[6 7 8]")
		q.send("b", 1, 9)
		q.expect("and the takeover is over", "[9]")
		q.set(func() { q.deleted[10], q.deleted[11] = true, true })
		q.settle(9)
		q.send("c", 1, 12)
		q.expect("nothing is missing that does not exist", "[12]")
		q.set(func() { q.away = true })
		q.send("d", 1, 14)
		q.pass(3 * takeoverWait)
		q.expect("NATS does not tell", "[]")
		q.set(func() { q.away = false })
		q.pass(takeoverWait - time.Second)
		q.expect("somebody holds one", "[]")
		q.pass(2 * time.Second)
		q.expect("it does not wait for ever", "[14]")
		if q.late != 1 {
			q.Errorf("said %d times that it goes on without them", q.late)
		}
	})
}

// The wait is for what makes no progress.
func TestTakeoverThatGoesOn(t *testing.T) {
	sequenced(t, func(q *sequencing) {
		q.send("a", 1, 1)
		q.expect("alone", "[1]")
		for _, seq := range []uint64{5, 10, 15} {
			q.lose(1)
			q.send("a", 1, seq)
		}
		for _, seq := range []uint64{5, 10, 15} {
			q.pass(takeoverWait * 2 / 3)
			q.expect("somebody holds older ones", "[]")
			q.settle(seq - 1)
			q.look()
			q.expect("they are settled", fmt.Sprintf("[%d]", seq))
		}
		if q.late != 0 {
			q.Error("it waited too long")
		}
	})
}

// A new event that came before a change says nothing about what others got since.
func TestTakeoverAfterTakeover(t *testing.T) {
	sequenced(t, func(q *sequencing) {
		q.send("a", 1, 1)
		q.expect("alone", "[1]")
		q.send("b", 1, 6)
		q.send("c", 2, 5)
		q.settle(4)
		q.look()
		q.expect("nothing is missing", "[5 6]")
		q.send("c", 1, 9)
		q.pass(time.Second)
		q.expect("somebody got some in between", "[]")
		q.settle(8)
		q.look()
		q.expect("they are settled", "[9]")
		q.send("c", 1, 10)
		q.expect("at once", "[10]")
	})
}

// Where the numbers of a source have gaps, they are looked at up to the first new
// event, and not for ever.
func TestTakeoverOfASourceWithGaps(t *testing.T) {
	sequenced(t, func(q *sequencing) {
		q.set(func() {
			for seq := uint64(1); seq < 200; seq += 2 {
				q.deleted[seq] = true
			}
		})
		for seq := uint64(2); seq < 180; seq += 2 {
			q.send("a", 1, seq)
		}
		want := []uint64{}
		for seq := uint64(2); seq < 180; seq += 2 {
			want = append(want, seq)
		}
		q.expect("all", fmt.Sprint(want))
		if q.asks > 1 {
			q.Errorf("it was asked %d times whether something is missing", q.asks)
		}
	})
}

// An event without a pin, whose headers nobody can read, may be newer than what
// others hold, too.
func TestTakeoverThatBeginsWithoutAPin(t *testing.T) {
	sequenced(t, func(q *sequencing) {
		q.lose(3)
		q.send("", 1, 4)
		q.pass(time.Second)
		q.expect("somebody holds older ones", "[]")
		q.settle(3)
		q.look()
		q.expect("they are settled", "[4]")
		q.send("", 1, 5)
		q.expect("at once", "[5]")
		q.send("a", 1, 6)
		q.expect("a pin", "[6]")
		q.set(func() { q.away = true })
		q.send("", 1, 7)
		q.send("a", 1, 8)
		q.expect("one without it begins nothing", "[7 8]")
	})
}

// A leader that was just elected may say that nothing is settled, and nothing
// pending: that is no reason to go on.
func TestTakeoverWhileNATSHasForgotten(t *testing.T) {
	sequenced(t, func(q *sequencing) {
		q.send("a", 1, 1)
		q.expect("alone", "[1]")
		q.send("b", 1, 5)
		q.pass(time.Second)
		q.expect("others hold older ones", "[]")
		q.settle(4)
		q.look()
		q.expect("they are settled", "[5]")
	})
}

// What was handled here is not waited for, settled or not: its deliveries are
// published first.
func TestTakeoverFromItself(t *testing.T) {
	sequenced(t, func(q *sequencing) {
		q.send("a", 1, 1, 2)
		q.send("b", 1, 3)
		q.lose(2)
		q.send("b", 1, 6)
		q.pass(time.Second)
		q.expect("what was lost is waited for", "[1 2 3]")
		q.send("b", 2, 4, 5)
		q.look()
		q.expect("it came again", "[4 5 6]")
	})
}

// A source that was made anew counts from the beginning again: what was handled of
// the old one says nothing about it.
func TestTakeoverOfASourceMadeAnew(t *testing.T) {
	sequenced(t, func(q *sequencing) {
		q.send("a", 1, 1, 2, 3)
		q.expect("the old one", "[1 2 3]")
		q.pass(time.Second)
		q.send("b", 1, 2)
		q.pass(time.Second)
		q.expect("somebody else holds the first", "[]")
		q.send("b", 2, 1)
		q.look()
		q.expect("it comes again", "[1 2]")
	})
}

// What was sent again is not all that others may hold: the takeover lasts until
// the server sends something new.
func TestTakeoverBeginsWithWhatIsSentAgain(t *testing.T) {
	sequenced(t, func(q *sequencing) {
		q.settle(3)
		q.send("a", 2, 4)
		q.expect("the first that is not settled", "[4]")
		q.pass(time.Hour)
		q.send("a", 1, 8)
		q.look()
		q.expect("somebody else holds some in between", "[]")
		q.send("a", 2, 7, 5)
		q.look()
		q.expect("one of them", "[5]")
		q.settle(6)
		q.look()
		q.expect("all of them", "[7 8]")
		q.send("a", 2, 10)
		q.expect("what is sent again later is gathered", "[]")
		q.send("a", 1, 9)
		q.expect("as ever", "[10 9]")
		if q.late != 0 {
			q.Error("it waited too long")
		}
	})
}

// A connection that breaks takes events with it: they come again, and newer ones
// before them. The numbers of the deliveries tell.
func TestLostOnTheWay(t *testing.T) {
	sequenced(t, func(q *sequencing) {
		q.send("a", 1, 1, 2)
		q.expect("nothing is missing", "[1 2]")
		q.settle(2)
		q.lose(1) // event 3
		asked := make(chan struct{})
		q.set(func() { q.asked = asked })
		q.send("a", 1, 4)
		synctest.Wait()
		// While it is looked, something else is lost: event 6.
		q.send("a", 2, 3)
		q.send("a", 1, 5)
		q.lose(1)
		q.send("a", 1, 7)
		asked <- struct{}{}
		q.expect("what is known is old", "[]")
		q.set(func() { q.asked = nil })
		close(asked)
		q.look()
		q.expect("what nobody else can precede goes on", "[3 4 5]")
		q.pass(time.Second)
		q.expect("another one is missing", "[]")
		q.settle(5)
		q.send("a", 2, 6)
		q.look()
		q.expect("it came again", "[6 7]")
		q.send("a", 1, 8)
		q.expect("at once again", "[8]")
		if q.late != 0 {
			q.Error("it goes on without them")
		}
	})
}
