package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// load is what a steady load published: for each subject and event, when it was
// accepted, that is when the PubAck was there (Unix time in ns).
type load struct {
	Accepted [][]int64
	Began    time.Time
	Ended    time.Time
}

// steady publishes to every subject at a rate of its own for some time. Each
// has a producer that publishes one event, waits for its PubAck, and then waits
// for the time of the next. One that is late goes on at once, so that the rate
// holds as long as NATS can follow.
func steady(ctx context.Context, js jetstream.JetStream, subjects int, rate float64, size int, duration time.Duration) (load, error) {
	l := load{Accepted: make([][]int64, subjects), Began: time.Now()}
	period := time.Duration(float64(time.Second) / rate)
	errs := make([]error, subjects)
	var producers sync.WaitGroup
	for j := range subjects {
		first := l.Began.Add(period * time.Duration(j) / time.Duration(subjects))
		producers.Go(func() {
			for n := range int(duration / period) {
				if errs[j] = wait(ctx, first.Add(period*time.Duration(n))); errs[j] != nil {
					return
				}
				at, err := accept(ctx, js, j, n, size)
				if err != nil {
					errs[j] = err
					return
				}
				l.Accepted[j] = append(l.Accepted[j], at)
			}
		})
	}
	producers.Wait()
	l.Ended = time.Now()
	return l, errors.Join(errs...)
}

// accept publishes an event and returns when its PubAck was there.
func accept(ctx context.Context, js jetstream.JetStream, j, n, size int) (int64, error) {
	_, err := js.PublishMsg(ctx, event(j, n, size), jetstream.WithRetryAttempts(3))
	at := time.Now().UnixNano()
	if err != nil {
		return 0, fmt.Errorf("event %d of %s was not accepted: %w", n, subject(j), err)
	}
	return at, nil
}

func wait(ctx context.Context, until time.Time) error {
	d := time.Until(until)
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// counts is how many events of each subject were published.
func (l load) counts() []int {
	count := make([]int, len(l.Accepted))
	for j, accepted := range l.Accepted {
		count[j] = len(accepted)
	}
	return count
}

// waits are the times from the PubAck to the healthy endpoints, of the events
// that were accepted at or after from.
func (l load) waits(p plan, got map[string]received, from time.Time) []time.Duration {
	var took []time.Duration
	for _, t := range p.Targets {
		if t.Behaves != behaveOK {
			continue
		}
		accepted := l.Accepted[t.Subject]
		for _, a := range got[t.Name].Arrivals {
			if a.Number < len(accepted) && accepted[a.Number] >= from.UnixNano() {
				took = append(took, time.Duration(a.At-accepted[a.Number]))
			}
		}
	}
	return took
}

// rate is how many events a second arrived at healthy endpoints from some time
// on, while the load lasted.
func (l load) rate(p plan, got map[string]received, from time.Time) float64 {
	count := 0
	for _, t := range p.Targets {
		if t.Behaves != behaveOK {
			continue
		}
		for _, a := range got[t.Name].Arrivals {
			if a.At >= from.UnixNano() && a.At < l.Ended.UnixNano() {
				count++
			}
		}
	}
	return float64(count) / l.Ended.Sub(from).Seconds()
}
