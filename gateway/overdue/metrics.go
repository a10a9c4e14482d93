package overdue

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics is what others may know of a [Watch], also before it runs. Its methods may
// be called concurrently.
type Metrics struct {
	longest atomic.Int64 // for how long the schedule is overdue that is so for longest, ns
	anew    prometheus.Counter
}

// NewMetrics registers the metrics of a [Watch].
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		anew: f.NewCounter(prometheus.CounterOpts{
			Name: "fanjet_retries_set_anew_total", Help: "Retries whose schedule did not fire, or would fire too late, and was published again.",
		}),
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fanjet_retry_overdue_seconds", Help: "How long the retry is overdue that waits for longest since its schedule did not fire; 0 if there is none.",
	}, func() float64 { return m.Longest().Seconds() })
	return m
}

// Longest is for how long the retry is overdue that waits for longest since its
// schedule did not fire; 0 if there is none.
func (m *Metrics) Longest() time.Duration { return time.Duration(m.longest.Load()) }
