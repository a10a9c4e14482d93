package publish

import (
	"slices"
	"testing"
	"time"
)

// The simulations of the pace: a publisher before a server that is only a
// sentence about what publishes cost. They show what each constant of pace.go is
// worth; docs/performance.md has the table. Nothing in them depends on the clock or
// on chance, so a metric moves only with the code.

// work is what publishes cost the processors: a batch is staged and written
// again.
const (
	workSingle    = 17 * time.Microsecond
	workBatch     = 5300 * time.Microsecond
	workBatchEach = 38 * time.Microsecond
)

// load is how messages come: a number of them at a time of every gap.
type load struct {
	sizes []int
	gap   time.Duration
}

var (
	trickle = load{[]int{1, 1, 2, 1, 6, 1, 3, 1}, 20 * time.Millisecond}
	handful = load{[]int{4, 9, 12, 20, 1, 28, 9, 16}, 30 * time.Millisecond}
	bursts  = load{[]int{40, 150, 60, 400, 90, 35}, 200 * time.Millisecond}
	backlog = load{[]int{20_000}, 100 * time.Second}
)

type phase struct {
	server
	rounds int
}

type simulation struct {
	load    load
	inOrder bool
	phases  []phase
	stall   time.Duration // that every so many publishes meet
	early   int           // publishes that meet one all the time: the start of a gateway
}

// told is what became of the messages.
type told struct {
	waited, longest, work, took, best time.Duration
	messages                          int
}

// run publishes what comes until all phases are over.
func (s simulation) run() told {
	var p pace
	var t told
	var now time.Duration
	var queue []time.Duration // when each came
	publishes, seed := 0, uint32(1)
	for _, ph := range s.phases {
		begin := now
		for round := range ph.rounds {
			at := max(begin+time.Duration(round)*s.load.gap, 0)
			for range s.load.sizes[round%len(s.load.sizes)] {
				queue = append(queue, at)
			}
			next := at + s.load.gap
			for now = max(now, at); len(queue) > 0 && (now < next || round == ph.rounds-1); {
				n := min(len(queue), 1000)
				for n > 0 {
					count, batch := p.choose(n, s.inOrder)
					seed = seed*1664525 + 1013904223
					publishes++
					stall := time.Duration(seed>>24) * time.Microsecond
					if publishes%7 == 0 || publishes <= s.early {
						stall += s.stall
					}
					took := ph.publish1(&p, count, batch, s.inOrder, stall)
					now += took
					t.took += took
					t.best += min(ph.cost(count, false, s.inOrder), ph.cost(count, true, s.inOrder)) + stall
					t.work += time.Duration(count) * workSingle
					if batch {
						t.work += workBatch + time.Duration(count)*(workBatchEach-workSingle)
					}
					for _, came := range queue[:count] {
						t.waited += now - came
					}
					t.longest = max(t.longest, took)
					t.messages += count
					queue = queue[count:]
					n -= count
				}
			}
		}
	}
	return t
}

// cost is how long a publish of so many messages takes when nothing disturbs it.
func (s server) cost(n int, batch, inOrder bool) time.Duration {
	switch {
	case batch && n > 1:
		return s.atomic(n)
	case inOrder:
		return time.Duration(n) * s.single
	}
	return s.singles(n)
}

// publish1 publishes once, and lets the pace learn from it.
func (s server) publish1(p *pace, n int, batch, inOrder bool, stall time.Duration) time.Duration {
	took := s.cost(n, batch, inOrder) + stall
	switch {
	case batch:
		p.observeBatch(n, took)
	case inOrder:
		p.observeSingles(1, s.single+stall)
		for range n - 1 {
			p.observeSingles(1, s.single)
		}
	default:
		p.observeSingles(n, took)
	}
	return took
}

func steady(s server, rounds int) []phase { return []phase{{s, rounds}} }

var simulations = map[string]simulation{
	"synced/trickle":     {load: trickle, phases: steady(synced, 400), stall: 10 * time.Millisecond},
	"synced/handful":     {load: handful, phases: steady(synced, 400), stall: 10 * time.Millisecond},
	"synced/bursts":      {load: bursts, phases: steady(synced, 200), stall: 10 * time.Millisecond},
	"synced/backlog":     {load: backlog, phases: steady(synced, 1), stall: 10 * time.Millisecond},
	"synced/order":       {load: handful, phases: steady(synced, 400), inOrder: true},
	"synced/order-long":  {load: bursts, phases: steady(synced, 200), inOrder: true},
	"unsynced/trickle":   {load: trickle, phases: steady(unsynced, 400), stall: 10 * time.Millisecond},
	"unsynced/handful":   {load: handful, phases: steady(unsynced, 400), stall: 10 * time.Millisecond},
	"unsynced/bursts":    {load: bursts, phases: steady(unsynced, 200), stall: 10 * time.Millisecond},
	"unsynced/backlog":   {load: backlog, phases: steady(unsynced, 1), stall: 10 * time.Millisecond},
	"unsynced/order":     {load: handful, phases: steady(unsynced, 400), inOrder: true},
	"busy/bursts":        {load: bursts, phases: steady(busy, 200), stall: 50 * time.Millisecond},
	"far/handful":        {load: handful, phases: steady(far, 400), stall: 10 * time.Millisecond},
	"far/order":          {load: handful, phases: steady(far, 400), inOrder: true},
	"hard-disk/bursts":   {load: bursts, phases: steady(hardDisk, 60), stall: 10 * time.Millisecond},
	"hard-disk/order":    {load: handful, phases: steady(hardDisk, 60), inOrder: true},
	"begins-synced":      {load: bursts, phases: steady(synced, 12), stall: 60 * time.Millisecond, early: 6},
	"begins-unsynced":    {load: bursts, phases: steady(unsynced, 40), stall: 60 * time.Millisecond, early: 6},
	"begins-hard-disk":   {load: bursts, phases: steady(hardDisk, 6)},
	"becomes-synced":     {load: bursts, phases: []phase{{unsynced, 100}, {synced, 300}}},
	"ceases-to-sync":     {load: bursts, phases: []phase{{synced, 100}, {unsynced, 300}}},
	"becomes-hard-disk":  {load: bursts, phases: []phase{{unsynced, 100}, {hardDisk, 60}}},
	"a-stall-of-seconds": {load: bursts, phases: []phase{{synced, 100}, {server{2 * time.Second, 300 * time.Microsecond, 2 * time.Second, 45 * time.Microsecond}, 2}, {synced, 100}}},
}

// BenchmarkPace runs the simulations. over-best-% is how much longer publishes
// took than by whoever knows the server; wait-ms is what a message waits from when
// it comes, longest-ms the longest publish, work-µs/msg what the processors do.
func BenchmarkPace(b *testing.B) {
	names := make([]string, 0, len(simulations))
	for name := range simulations {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			var t told
			for b.Loop() {
				t = simulations[name].run()
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(100*(float64(t.took)/float64(t.best)-1), "over-best-%")
			b.ReportMetric(t.waited.Seconds()*1e3/float64(t.messages), "wait-ms")
			b.ReportMetric(t.longest.Seconds()*1e3, "longest-ms")
			b.ReportMetric(t.work.Seconds()*1e6/float64(t.messages), "work-µs/msg")
		})
	}
}
