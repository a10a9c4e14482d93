package source

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"fanjet/dlq"
	"fanjet/subscriber"
)

// Metrics are the instruments of the matchers of all sources.
type Metrics struct {
	received     *prometheus.CounterVec // source
	unmatched    *prometheus.CounterVec // source
	skipped      *prometheus.CounterVec // source
	missed       *prometheus.CounterVec // source
	missedOfAll  atomic.Uint64
	ignored      *prometheus.CounterVec // source, reason
	matches      prometheus.Counter
	filterErrors *prometheus.CounterVec // reason
	unpublished  *prometheus.CounterVec // reason
	direct       prometheus.Counter
	held         *prometheus.GaugeVec // source
	stored       map[subscriber.Why]prometheus.Counter
}

// NewMetrics registers the instruments, and makes the series of the sources at zero.
func NewMetrics(reg prometheus.Registerer, sources []string) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		received: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_events_received_total", Help: "Events taken from a source stream.",
		}, []string{"source"}),
		unmatched: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_events_unmatched_total", Help: "Events that no subscription wanted.",
		}, []string{"source"}),
		skipped: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_events_skipped_total", Help: "Events that the cursor covers: they came again although they were fanned out, or an operator skipped them.",
		}, []string{"source"}),
		missed: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_events_missed_total", Help: "Events that left a source stream before they were fanned out.",
		}, []string{"source"}),
		ignored: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_messages_ignored_total", Help: "Messages of a source that are no events, by reason: schedules whose time has not come, and the server's delete markers.",
		}, []string{"source", "reason"}),
		matches: f.NewCounter(prometheus.CounterOpts{
			Name: "fanjet_matches_total", Help: "Pairs of an event and an endpoint that gets it.",
		}),
		filterErrors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_filter_errors_total", Help: "Filters that could not be evaluated for an event, by reason; it did not match.",
		}, []string{"reason"}),
		unpublished: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_fanout_dead_letters_total", Help: "Deliveries that NATS refused at fan-out and that were dead-lettered, by reason.",
		}, []string{"reason"}),
	}
	m.direct = f.NewCounter(prometheus.CounterOpts{
		Name: "fanjet_direct_deliveries_total", Help: "Deliveries that were handed to their endpoints without being stored.",
	})
	m.held = f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "fanjet_events_held", Help: "Events of which some delivery is made directly and neither done nor stored: a crash may repeat what was delivered of them.",
	}, []string{"source"})
	stored := f.NewCounterVec(prometheus.CounterOpts{
		Name: "fanjet_stored_deliveries_total", Help: "Deliveries of events that were stored before they were attempted, by the reason why they were not made directly, or not any more.",
	}, []string{"reason"})
	m.stored = make(map[subscriber.Why]prometheus.Counter)
	for _, why := range subscriber.Whys() {
		m.stored[why] = stored.WithLabelValues(string(why))
	}
	for _, reason := range [...]string{filterCost, filterValue, filterUnreadable} {
		m.filterErrors.WithLabelValues(reason)
	}
	for _, s := range sources {
		m.forSource(s)
	}
	for _, reason := range [...]dlq.Reason{dlq.ReasonTooLarge, dlq.ReasonUnpublishable} {
		m.unpublished.WithLabelValues(string(reason))
	}
	return m
}

// AllMissed is how many events were missed, of all sources.
func (m *Metrics) AllMissed() uint64 { return m.missedOfAll.Load() }

// Why a filter could not be evaluated.
const (
	filterCost       = "cost"       // it took more steps than it may
	filterValue      = "value"      // it does not fit the values of the event
	filterUnreadable = "unreadable" // it needs the body of an event whose body it cannot read
)

// sourceCounts are the counters of one source, looked up once.
type sourceCounts struct {
	received, unmatched, skipped, missed prometheus.Counter
	held                                 prometheus.Gauge
	ignored                              map[string]prometheus.Counter // by reason
}

// forSource also creates the source's series at zero.
func (m *Metrics) forSource(stream string) sourceCounts {
	return sourceCounts{
		received:  m.received.WithLabelValues(stream),
		unmatched: m.unmatched.WithLabelValues(stream),
		skipped:   m.skipped.WithLabelValues(stream),
		missed:    m.missed.WithLabelValues(stream),
		held:      m.held.WithLabelValues(stream),
		ignored: map[string]prometheus.Counter{
			ignoredSchedule: m.ignored.WithLabelValues(stream, ignoredSchedule),
			ignoredMarker:   m.ignored.WithLabelValues(stream, ignoredMarker),
		},
	}
}
