package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// busyLoops take processors from what is measured.
type busyLoops struct {
	over    atomic.Bool
	limit   *time.Timer
	running sync.WaitGroup
}

// newBusyLoops starts n loops, which end after limit if nothing stops them
// before.
func newBusyLoops(n int, limit time.Duration) *busyLoops {
	b := &busyLoops{}
	b.limit = time.AfterFunc(limit, func() { b.over.Store(true) })
	for range n {
		b.running.Go(func() {
			for !b.over.Load() { // to be busy is the point
			}
		})
	}
	return b
}

func (b *busyLoops) stop() {
	b.limit.Stop()
	b.over.Store(true)
	b.running.Wait()
}

// startBusy is the child that runs busy loops.
func startBusy(j job) (work, error) {
	runtime.GOMAXPROCS(j.Loops + 1) // one is left to see the end
	loops := newBusyLoops(j.Loops, j.Limit)
	return work{stop: func() error { loops.stop(); return nil }}, nil
}
