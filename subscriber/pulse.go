package subscriber

import runtimemetrics "runtime/metrics"

const (
	// A process is starved when more than lateShare of its goroutines had to wait
	// longer than late, in seconds, for a processor.
	late      = 0.002
	lateShare = 0.05
)

// pulse tells whether the process gets as much of the machine as it wants. When
// it does not, everything waits, and no endpoint is to blame. The zero value is
// ready.
type pulse struct {
	sample [1]runtimemetrics.Sample
	before []uint64
}

// starved reports how it went since the last call.
func (p *pulse) starved() bool {
	p.sample[0].Name = "/sched/latencies:seconds"
	runtimemetrics.Read(p.sample[:])
	if p.sample[0].Value.Kind() != runtimemetrics.KindFloat64Histogram {
		return false
	}
	h := p.sample[0].Value.Float64Histogram()
	var all, waited uint64
	for i, n := range h.Counts {
		if i < len(p.before) {
			n -= p.before[i]
		}
		all += n
		if h.Buckets[i] >= late {
			waited += n
		}
	}
	p.before = append(p.before[:0], h.Counts...)
	return float64(waited) > lateShare*float64(all)
}
