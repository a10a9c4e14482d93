package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"
)

// killPoint is one kill, and what was under way then.
type killPoint struct {
	Arrived  int `json:"arrived"`   // events at their endpoints
	Open     int `json:"open"`      // requests that the receiver had begun and not answered
	InFlight int `json:"in_flight"` // attempts, as the gateway's metric had it a moment before
}

// killRound is a preloaded stream that was drained over some kills.
type killRound struct {
	Kills     []killPoint `json:"kills"`
	PerSecond float64     `json:"per_second"` // deliveries, pauses not counted
	faults
}

// watchEvery is how often a round looks at the receiver: the kill comes so much
// late, at most.
const watchEvery = 2 * time.Millisecond

// killRun drains a preloaded stream. At each of some points, evenly spread, it
// kills what delivers with SIGKILL and starts it again.
func killRun(ctx context.Context, s setup, p plan, kills int) (killRound, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Minute)
	defer cancel()
	w, err := open(ctx, gatewayKind, s, p)
	if err != nil {
		return killRound{}, err
	}
	defer w.close()
	events := published(s.Events, p.Subjects)
	want := 0
	for j, endpoints := range p.healthy() {
		want += endpoints * events[j]
	}
	var round killRound
	var m meter
	reach := func(n int) (now progress, err error) {
		err = w.await(ctx, watchEvery, func(p progress) bool {
			m.note(time.Now(), p.Arrived)
			now = p
			return p.Arrived >= n
		})
		return now, err
	}
	for i := range kills {
		now, err := reach(want * (i + 1) / (kills + 1))
		if err != nil {
			return round, err
		}
		point := killPoint{Arrived: now.Arrived, Open: now.Open}
		if point.InFlight, err = w.inFlight(ctx); err != nil {
			return round, err
		}
		w.kill()
		round.Kills = append(round.Kills, point)
		if err := w.start(ctx); err != nil {
			return round, err
		}
	}
	if _, err := reach(want); err != nil {
		return round, err
	}
	round.PerSecond = m.perSecond()
	if err := w.quiet(ctx); err != nil {
		return round, err
	}
	got, err := w.report(ctx)
	round.faults = audit(p, events, got)
	return round, err
}

// inFlight is how many attempts the gateways say that they are making.
func (w *world) inFlight(ctx context.Context) (int, error) {
	total := 0
	for _, r := range w.runners {
		text, err := get(ctx, "http://"+r.hello.Admin+"/metrics")
		if err != nil {
			return 0, err
		}
		n, err := gauge(text, "fanjet_attempts_in_flight")
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// gauge reads a metric that has no labels.
func gauge(metrics []byte, name string) (int, error) {
	for line := range bytes.Lines(metrics) {
		if value, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			v, err := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
			return int(v), err
		}
	}
	return 0, fmt.Errorf("the gateway has no metric %s", name)
}
