package subscriber

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func roomOf(limit int64) *room {
	r := new(room)
	r.limit.Store(limit)
	return r
}

// Room is given at once while there is any, also for more than is left; then it is waited
// for, as long as is wanted, and no longer.
func TestRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := roomOf(8)
		if !r.take(7, 0) || !r.take(16, 0) || r.taken.Load() != 23 {
			t.Errorf("%d taken", r.taken.Load())
		}
		began := time.Now()
		if r.take(1, 0) || time.Since(began) != 0 {
			t.Error("there is none, and nobody waits for it")
		}
		if r.take(1, time.Second) || time.Since(began) != time.Second || r.taken.Load() != 23 {
			t.Errorf("after %s %d are taken", time.Since(began), r.taken.Load())
		}
		if n := r.queue.Load(); n != 0 {
			t.Errorf("%d wait still", n)
		}
		r.free(23)
		if !r.take(1, 0) {
			t.Error("there is room again")
		}
	})
	if new(room).take(1, 0) {
		t.Error("there is none")
	}
}

// Who waits goes on when a quarter is free, the first one first, one after the other.
func TestRoomGoesRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := roomOf(8)
		r.take(8, 0)
		var mu sync.Mutex
		var got string
		for i := range 3 {
			go func() {
				if r.take(4, time.Minute) {
					mu.Lock()
					got += strconv.Itoa(i)
					mu.Unlock()
				}
			}()
			synctest.Wait()
		}
		check := func(after, want string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got != want {
				t.Errorf("after %s %q went on, want %q", after, got, want)
			}
		}
		r.free(1)
		check("one is free", "")
		r.free(1)
		check("a quarter is free", "0") // 10 are taken
		r.free(3)
		check("7 are taken", "0")
		r.free(1)
		check("6 are taken", "01")
		r.free(10)
		check("all are free", "012")
		r.free(4)
	})
}

// Room that is freed, or that more comes of, between a look and the wait, or for one who
// gives up at that moment, is not lost for others.
func TestRoomIsNotLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := roomOf(4)
		r.take(4, 0)
		r.free(4) // after somebody looked
		select {
		case <-r.join():
		default:
			t.Error("who joins the line waits for room that is there")
		}
		r.take(4, 0)
		first, second := r.join(), r.join()
		r.free(4)
		<-first
		if r.leave(first) {
			t.Error("it was its turn")
		}
		select {
		case <-second:
			t.Fatal("two go on at once")
		default:
		}
		r.next() // what take does then
		<-second
	})
}

// All that there is room for go on together, also if one gives up at that moment.
func TestRoomIsPassedOn(t *testing.T) {
	t.Parallel()
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			r := roomOf(8)
			r.take(8, 0)
			began := time.Now()
			var all sync.WaitGroup
			all.Go(func() { r.take(1, time.Second) }) // may give up
			synctest.Wait()
			for range 3 {
				all.Go(func() {
					if !r.take(1, time.Hour) || time.Since(began) != time.Second {
						t.Errorf("it went on after %s", time.Since(began))
					}
				})
			}
			all.Go(func() {
				time.Sleep(time.Second) //nolint:forbidigo // synctest
				r.free(8)
			})
			all.Wait()
		})
	}
}

// Many who take and free at once, and give up now and then, all go on, and in the end
// nothing is taken.
func TestRoomUnderStress(t *testing.T) {
	t.Parallel()
	r := roomOf(10)
	var all sync.WaitGroup
	var gaveUp, most atomic.Int64
	for i := range 8 {
		all.Go(func() {
			for k := range 2000 {
				n := 1 + (i+k)%4
				wait := time.Hour
				if k%10 == 0 {
					wait = time.Microsecond
				}
				if !r.take(n, wait) {
					if gaveUp.Add(1); wait == time.Hour {
						t.Error("a wake-up was lost")
					}
					continue
				}
				if taken := r.taken.Load(); taken > most.Load() {
					most.Store(taken)
				}
				r.free(n)
			}
		})
	}
	all.Wait()
	if r.taken.Load() != 0 || r.queue.Load() != 0 || len(r.line) != 0 {
		t.Errorf("in the end %d are taken, and %d wait", r.taken.Load(), len(r.line))
	}
	if most.Load() > 10+8*4 {
		t.Errorf("%d were taken at once", most.Load())
	}
}

// The dispatcher waits less for room when somebody hurries, or others could do the work.
func TestWaitForRoom(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		hurry, others bool
		want          time.Duration
	}{
		"alone": {false, false, roomWait}, "in a hurry": {true, false, sharedWait}, "with others": {false, true, sharedWait},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inHand(t, asItIs, func(h *hand) {
				h.opts.OthersLive = func() bool { return tt.others }
				h.Dispatcher.direct.room.limit.Store(4)
				h.Room(4, false)
				began := time.Now()
				if h.Room(1, tt.hurry) || time.Since(began) != tt.want {
					t.Errorf("it waits for %s, want %s", time.Since(began), tt.want)
				}
				h.Free(4)
				if !h.Room(1, tt.hurry) {
					t.Error("there is room")
				}
			})
		})
	}
}

// So many are remembered as there is room for, the latest; one that came twice as long as
// its latest time is.
func TestRecentKeys(t *testing.T) {
	t.Parallel()
	var r recentKeys
	if r.contains("0") {
		t.Error("it is empty")
	}
	r.add("twice")
	for i := range dueSeen - 2 {
		r.add(strconv.Itoa(i))
	}
	r.add("twice")
	for key, want := range map[string]bool{"twice": true, "0": true, strconv.Itoa(dueSeen - 3): true, "other": false} {
		if r.contains(key) != want {
			t.Errorf("%s is known: %v", key, !want)
		}
	}
	r.add("new")
	r.add("newer") // the first "twice" and "0" are forgotten
	for key, want := range map[string]bool{"twice": true, "0": false, "1": true, "new": true, "newer": true} {
		if r.contains(key) != want {
			t.Errorf("%s is known: %v", key, !want)
		}
	}
	for i := range dueSeen {
		r.add("n" + strconv.Itoa(i))
	}
	if r.contains("twice") || len(r.ring) != dueSeen || len(r.has) != dueSeen {
		t.Errorf("%d and %d are remembered", len(r.ring), len(r.has))
	}
}
