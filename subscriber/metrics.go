package subscriber

import (
	"slices"
	"sync/atomic"
	"time"

	"fanjet/subscriber/outcome"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the instruments of delivery. No label carries an id or a URL.
type metrics struct {
	attempts *prometheus.CounterVec // endpoint, class
	resends  *prometheus.CounterVec // endpoint, reason
	retries  *prometheus.CounterVec // endpoint
	dead     *prometheus.CounterVec // endpoint, reason
	duration prometheus.Histogram
	endToEnd prometheus.Histogram
	inFlight prometheus.Gauge
	foreign  prometheus.Counter

	leases      prometheus.Counter
	leasesFired prometheus.Counter

	diverted      prometheus.Counter
	laneRefused   prometheus.Counter
	circuitOpened *prometheus.CounterVec // endpoint
	states        *prometheus.GaugeVec   // state
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		attempts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_delivery_attempts_total",
			Help: "Attempts to deliver, by endpoint and class of outcome; class 2xx is delivered.",
		}, []string{"endpoint", "class"}),
		resends: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_resends_total",
			Help: "Requests that were sent again within one attempt, by endpoint and reason.",
		}, []string{"endpoint", "reason"}),
		retries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_retries_scheduled_total",
			Help: "Failed attempts after which another one was scheduled, by endpoint.",
		}, []string{"endpoint"}),
		dead: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_dead_letters_total",
			Help: "Deliveries that were given up, by endpoint and reason.",
		}, []string{"endpoint", "reason"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "fanjet_attempt_duration_seconds",
			Help:    "Time from the start of an attempt to the response headers or the failure.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60},
		}),
		endToEnd: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "fanjet_end_to_end_seconds",
			Help:    "Time from the acceptance of an event, or its replay, to the 2xx of an endpoint.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 15, 60, 300, 1800, 7200, 28800, 86400},
		}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "fanjet_attempts_in_flight",
			Help: "Attempts that are being made now.",
		}),
		foreign: f.NewCounter(prometheus.CounterOpts{
			Name: "fanjet_foreign_messages_total",
			Help: "Messages on Fanjet's own subjects that Fanjet did not write; they are dead-lettered.",
		}),
		leases: f.NewCounter(prometheus.CounterOpts{
			Name: "fanjet_leases_total",
			Help: "Direct attempts that took so long that their deliveries were stored before they ended.",
		}),
		leasesFired: f.NewCounter(prometheus.CounterOpts{
			Name: "fanjet_leases_fired_total",
			Help: "Of those, attempts whose result came too late: their deliveries are attempted again.",
		}),
		diverted: f.NewCounter(prometheus.CounterOpts{
			Name: "fanjet_lane_moves_total",
			Help: "Deliveries that were moved from the shared consumers to the lanes of their endpoints.",
		}),
		laneRefused: f.NewCounter(prometheus.CounterOpts{
			Name: "fanjet_lane_refused_total",
			Help: "Deliveries that the stream of lanes did not take; they wait as retries that are no attempts.",
		}),
		circuitOpened: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_circuit_opened_total",
			Help: "How often the circuit of an endpoint opened.",
		}, []string{"endpoint"}),
		states: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fanjet_endpoints",
			Help: "Endpoints of the configuration, by state.",
		}, []string{"state"}),
	}
}

// countDirect registers the time of the latest direct success, in Unix nanoseconds.
func countDirect(reg prometheus.Registerer, success *atomic.Int64) {
	promauto.With(reg).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fanjet_direct_last_success_timestamp_seconds",
		Help: "When the latest delivery succeeded that was made directly, in seconds since 1970; 0: none did.",
	}, func() float64 { return float64(success.Load()) / float64(time.Second) })
}

// endpointMetrics are the counters of one endpoint. A series is made when it
// first counts, and looked up once: most endpoints need few of theirs.
type endpointMetrics struct {
	all      *metrics
	endpoint string
	attempts [len(outcome.Classes)]atomic.Pointer[prometheus.Counter]
	retries  atomic.Pointer[prometheus.Counter]
	settling atomic.Int32 // what NATS is asked to store, and is counted then
}

// attempt counts the attempts of a class, which must be one of classes.
func (m *endpointMetrics) attempt(c outcome.Class) prometheus.Counter {
	return once(&m.attempts[slices.Index(outcome.Classes[:], c)], func() prometheus.Counter {
		return m.all.attempts.WithLabelValues(m.endpoint, string(c))
	})
}

// retry counts the retries that were scheduled.
func (m *endpointMetrics) retry() prometheus.Counter {
	return once(&m.retries, func() prometheus.Counter { return m.all.retries.WithLabelValues(m.endpoint) })
}

// once returns what p holds, or what look returns, for ever.
func once(p *atomic.Pointer[prometheus.Counter], look func() prometheus.Counter) prometheus.Counter {
	if known := p.Load(); known != nil {
		return *known
	}
	c := look() // of two at once, both get the same
	p.Store(&c)
	return c
}
