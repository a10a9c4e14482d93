package subscriber

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"fanjet/internal/intake"
	"fanjet/subscriber/attempt"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/gate"
	"fanjet/subscriber/outcome"
)

// The simulations of the fast lane: the endpoints, their deliveries and the review
// are the real ones; the clock, the stream, the machine and the lanes are not.
// They show what each constant of fastlane.go, patience.go and pulse.go is worth;
// docs/performance.md has the table. Nothing in them depends on the clock or on
// chance.

// simulated is an endpoint and what comes for it.
type simulated struct {
	times   int // endpoints of the kind
	healthy bool
	slots   int
	latency time.Duration
	burst   int           // deliveries at a time
	every   time.Duration // zero: once, at the start
	first   time.Duration // when the first burst comes

	*member
	arrived []time.Time // what the lane has
	laning  int         // attempts from the lane
}

// laneSim is a simulation: some endpoints on a machine that needs so long for an
// attempt, and stands still now and then.
type laneSim struct {
	kinds   []simulated
	cpu     time.Duration
	stall   time.Duration // every five seconds
	seconds int
	fair    bool // the machine takes the endpoints in turn, not one before the other
}

// seenSim is what became of the deliveries of the healthy endpoints.
type seenSim struct {
	delays    []time.Duration // of the healthy
	healthy   int
	diverted  int           // of the healthy
	holdsBack time.Duration // the longest that one was in the fast lane and not attempted
	most      int           // held at a time
}

type simDelivery struct {
	e       *simulated
	d       *delivery
	arrived time.Time
	healthy bool
	ends    time.Time
}

const simTick = time.Millisecond

func (l laneSim) run() seenSim {
	var out seenSim
	f := &fastLane{}
	slots := newSlots(maxAttempts)
	var begun sync.WaitGroup
	var all []*simulated
	for _, kind := range l.kinds {
		for i := range max(kind.times, 1) {
			e := kind
			settings := endpoint.Settings{Name: fmt.Sprint(len(all)), MaxInFlight: e.slots}
			e.member = &member{name: settings.Name, slots: slots, begun: &begun, fast: f, target: &attempt.Target{Settings: settings}, gate: gate.New(&settings), wake: func() {}}
			e.first += time.Duration(i) * 3 * time.Millisecond
			all = append(all, &e)
		}
	}
	began, now := noon, noon
	var stream []simDelivery
	var running []*simDelivery
	inMemory := map[*delivery]*simDelivery{}
	window, held := mostAhead, 0
	reviewed, free := now, now // the latest review; when the machine is free
	starts, lates := 0, 0
	// attempt begins one, and says when the machine has come to it.
	begin := func(s *simDelivery) {
		free = maxTime(free, now).Add(l.cpu)
		starts++
		if free.Sub(now).Seconds() > late {
			lates++
		}
		s.ends = free.Add(s.e.latency)
		running = append(running, s)
	}
	divert := func(out2 []*delivery) {
		for _, d := range out2 {
			s := inMemory[d]
			delete(inMemory, d)
			held--
			out.holdsBack = max(out.holdsBack, now.Sub(d.since))
			if s.healthy {
				out.diverted++
			}
			s.e.arrived = append(s.e.arrived, s.arrived)
			s.e.moved()
		}
	}
	end := began.Add(time.Duration(l.seconds) * time.Second)
	for ; now.Before(end) || len(stream)+len(running)+held > 0 && now.Before(end.Add(time.Minute)); now = now.Add(simTick) {
		since := now.Sub(began)
		if l.stall > 0 && since > 0 && since%(5*time.Second) == 0 {
			free = maxTime(free, now).Add(l.stall)
		}
		running = slices.DeleteFunc(running, func(s *simDelivery) bool {
			if s.ends.After(now) {
				return false
			}
			if s.d != nil {
				s.e.heard(s.d, outcome.Result{Class: outcome.Class2xx, Status: 200, Took: s.e.latency + l.cpu}, false, "", now)
				s.e.finish(s.d, now)
				held--
			} else {
				s.e.laning--
			}
			if s.healthy {
				out.delays = append(out.delays, now.Sub(s.arrived))
			}
			return true
		})
		for _, e := range all {
			at := since - e.first
			if now.Before(end) && at >= 0 && (at == 0 || e.every > 0 && at%e.every == 0) {
				for range e.burst {
					stream = append(stream, simDelivery{e: e, arrived: now, healthy: e.healthy})
				}
			}
		}
		for len(stream) > 0 && held < window {
			s := stream[0]
			stream = stream[1:]
			f.backlog.Store(int64(len(stream)))
			d := &delivery{msg: received(&intake.Message{}), ep: s.e.member}
			s.d = d
			if s.healthy {
				out.healthy++
			}
			inMemory[d], held = &s, held+1
			if v, others := s.e.offer(d, now); v == diverted {
				d.since = now
				divert(append(others, d))
			}
		}
		out.most = max(out.most, held)
		if l.fair {
			all = append(all[1:], all[0])
		}
		for _, e := range all {
			// As long as the machine is far behind, no goroutine of it starts another.
			for free.Sub(now) < 20*time.Millisecond {
				d := e.start(now)
				if d == nil {
					break
				}
				s := inMemory[d]
				delete(inMemory, d)
				out.holdsBack = max(out.holdsBack, now.Sub(d.since))
				begin(s)
			}
			for len(e.arrived) > 0 && e.laning+e.inFlight < e.slots && free.Sub(now) < 20*time.Millisecond {
				begin(&simDelivery{e: e, arrived: e.arrived[0], healthy: e.healthy})
				e.arrived, e.laning = e.arrived[1:], e.laning+1
			}
			if e.Laned() && len(e.arrived)+e.laning == 0 {
				e.Rejoin(now, 3*time.Second)
			}
		}
		if took := now.Sub(reviewed); took >= reviewEvery && free.Sub(now) < 100*time.Millisecond { // else it stands still
			if took > 2*reviewEvery {
				f.starved = now
			}
			reviewed = now
			f.learn(took)
			if float64(lates) > lateShare*float64(starts) {
				f.starved = now
			}
			starts, lates = 0, 0
			j := f.judge(now)
			for _, e := range j.slow {
				divert(e.leave(now))
			}
			window = j.window(held)
			if j.greedy != nil {
				divert(j.greedy.giveWay(now))
			}
		}
	}
	return out
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

var (
	steadyKind = simulated{times: 20, healthy: true, slots: 32, latency: 5 * time.Millisecond, burst: 1, every: 20 * time.Millisecond}
	jumpy      = simulated{times: 5, healthy: true, slots: 8, latency: 50 * time.Millisecond, burst: 30, every: 2 * time.Second, first: time.Second}
)

var laneSims = map[string]laneSim{
	"a slow endpoint":             {kinds: []simulated{steadyKind, {slots: 8, latency: time.Second, burst: 4, every: 20 * time.Millisecond}}, cpu: 100 * time.Microsecond, seconds: 15},
	"a slow one, much for it":     {kinds: []simulated{steadyKind, {slots: 8, latency: time.Second, burst: 200, every: 100 * time.Millisecond}}, cpu: 100 * time.Microsecond, seconds: 15},
	"bursts":                      {kinds: []simulated{steadyKind, jumpy}, cpu: 100 * time.Microsecond, seconds: 15},
	"all have bursts":             {kinds: []simulated{{times: 20, healthy: true, slots: 8, latency: 50 * time.Millisecond, burst: 90, every: 3 * time.Second}}, cpu: 100 * time.Microsecond, seconds: 15},
	"alone":                       {kinds: []simulated{{healthy: true, slots: 8, latency: 50 * time.Millisecond, burst: 250, every: 4 * time.Second}}, cpu: 100 * time.Microsecond, seconds: 15},
	"alone, and far behind":       {kinds: []simulated{{slots: 8, latency: 500 * time.Millisecond, burst: 4, every: 20 * time.Millisecond}, {healthy: true, slots: 8, latency: 5 * time.Millisecond, burst: 1, first: 10 * time.Second}}, cpu: 100 * time.Microsecond, seconds: 15},
	"a slow machine":              {kinds: []simulated{{times: 20, healthy: true, slots: 32, latency: 5 * time.Millisecond, burst: 60, every: 3 * time.Second}}, cpu: 2 * time.Millisecond, seconds: 15},
	"a very slow machine":         {kinds: []simulated{{times: 19, healthy: true, slots: 32, latency: 5 * time.Millisecond, burst: 12, every: 6 * time.Second}}, cpu: 20 * time.Millisecond, seconds: 12, fair: true},
	"a slow machine, unequal":     {kinds: []simulated{{times: 20, healthy: true, slots: 32, latency: 5 * time.Millisecond, burst: 20, every: time.Second}, {times: 2, healthy: true, slots: 4, latency: 20 * time.Millisecond, burst: 300, every: 8 * time.Second}}, cpu: 2 * time.Millisecond, seconds: 24},
	"a slow machine, one is slow": {kinds: []simulated{{times: 20, healthy: true, slots: 32, latency: 5 * time.Millisecond, burst: 15, every: time.Second}, {slots: 8, latency: 2 * time.Second, burst: 10, every: 100 * time.Millisecond}}, cpu: 2 * time.Millisecond, seconds: 20},
	"standing still":              {kinds: []simulated{steadyKind, jumpy}, cpu: 100 * time.Microsecond, stall: 700 * time.Millisecond, seconds: 20},
	"too much for one":            {kinds: []simulated{{slots: 32, latency: 20 * time.Millisecond, burst: 60, every: 20 * time.Millisecond}, steadyKind}, cpu: 100 * time.Microsecond, seconds: 15},
	"a backlog for all":           {kinds: []simulated{{times: 4, healthy: true, slots: 32, latency: 5 * time.Millisecond, burst: 6000}}, cpu: 100 * time.Microsecond, seconds: 8},
	"for a while too much":        {kinds: []simulated{{healthy: true, slots: 32, latency: 20 * time.Millisecond, burst: 300, every: 500 * time.Millisecond}, {healthy: true, slots: 32, latency: 20 * time.Millisecond, burst: 2500, every: 7 * time.Second, first: time.Second}, steadyKind}, cpu: 100 * time.Microsecond, seconds: 15},
	"fast":                        {kinds: []simulated{{times: 50, healthy: true, slots: 32, latency: 10 * time.Millisecond, burst: 400}}, cpu: 20 * time.Microsecond, seconds: 4},
}

// Who stands behind a backlog for one endpoint does so for a moment only, although
// the look at the fast lane mostly finds that endpoint alone in it.
func TestGreedyGivesWay(t *testing.T) {
	t.Parallel()
	s := laneSims["too much for one"].run()
	if longest := slices.Max(s.delays); longest > 5*time.Second {
		t.Errorf("by the clock of the simulation a healthy endpoint waited %s", longest)
	}
	if s.diverted > 0 {
		t.Errorf("%d deliveries of healthy endpoints were diverted", s.diverted)
	}
}

// BenchmarkFastLane runs the simulations. p99-ms is what deliveries of the healthy
// endpoints wait, from when they come; diverted-% how many of them take the way
// through a lane for nothing; holds-back-ms the longest that one is read and not
// begun, in which the log cannot be truncated; held how many are in memory.
func BenchmarkFastLane(b *testing.B) {
	for _, name := range slices.Sorted(maps.Keys(laneSims)) {
		b.Run(name, func(b *testing.B) {
			var s seenSim
			for b.Loop() {
				s = laneSims[name].run()
			}
			if len(s.delays) == 0 {
				s.delays = append(s.delays, time.Hour) // they still wait
			}
			slices.Sort(s.delays)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(s.delays[len(s.delays)*99/100].Seconds()*1e3, "p99-ms")
			b.ReportMetric(100*float64(s.diverted)/float64(s.healthy), "diverted-%")
			b.ReportMetric(s.holdsBack.Seconds()*1e3, "holds-back-ms")
			b.ReportMetric(float64(s.most), "held")
		})
	}
}
