package attempt

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// awakeEvery is how often the process notes that it runs.
	awakeEvery = 50 * time.Millisecond
	// standstill is how much later than that it must come to be one. What is less
	// may be a busy scheduler.
	standstill = 200 * time.Millisecond
	// leap is how much further than the clock that no one can set the time of day
	// must have gone meanwhile, for the machine to have been suspended: the first
	// clock stands then (CLOCK_MONOTONIC, clock_gettime(2)). Somebody who sets the
	// time forward looks the same. No clock tells of a virtual machine that was
	// held but the one that is set right afterwards.
	leap = time.Second
)

// Awake knows for how long the process stood still: because it was stopped
// (SIGSTOP, a debugger), because it got no processor, or because its machine was
// suspended. Timers that ran out meanwhile say nothing about who was waited for.
//
// Its methods may be called concurrently. A nil one never stood still, nor did one
// that does not beat yet.
type Awake struct {
	at atomic.Pointer[wakefulness]
}

// wakefulness is what is known at a beat.
type wakefulness struct {
	beat time.Time
	lost lost
}

// Lost is the time that the process stood still, since it began.
type lost struct {
	Stood time.Duration // by the clock that no one can set
	away  time.Duration // beside that clock, which stood as well
}

// Since is what came to it since then.
func (l lost) Since(then lost) lost { return lost{l.Stood - then.Stood, l.away - then.away} }

func (l lost) all() time.Duration { return l.Stood + l.away }

// excuses reports whether an attempt with some timeout, which failed, lost so much
// of its time that this may be why. A slow moment changes nothing about an endpoint
// that does not answer in a minute.
func (l lost) excuses(timeout time.Duration) bool {
	return l.all() >= max(standstill, min(time.Second, timeout/4))
}

// Run beats until ctx ends, and tells of what is worth a line.
func (a *Awake) Run(ctx context.Context, log *zap.Logger) {
	tick := time.NewTicker(awakeEvery)
	defer tick.Stop()
	a.beat(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			before := a.at.Load().lost
			a.beat(time.Now())
			if stood := a.at.Load().lost.Since(before); stood.all() >= leap {
				log.Warn("this process stood still; attempts that failed meanwhile do not count", zap.Duration("stood", stood.Stood), zap.Duration("suspended", stood.away))
			}
		}
	}
}

// beat notes that the process runs. It is called every [awakeEvery], by one
// goroutine.
func (a *Awake) beat(now time.Time) {
	a.at.Store(&wakefulness{beat: now, lost: a.Lost(now)})
}

// Lost is the time that the process stood still until now. Whoever wakes up with
// it and asks before the next beat learns the same.
func (a *Awake) Lost(now time.Time) lost {
	if a == nil {
		return lost{}
	}
	at := a.at.Load()
	if at == nil {
		return lost{}
	}
	sum := at.lost
	ran := now.Sub(at.beat)
	if late := ran - awakeEvery; late >= standstill {
		sum.Stood += late
	}
	if ahead := now.Round(0).Sub(at.beat.Round(0)) - ran; ahead >= leap {
		sum.away += ahead
	}
	return sum
}
