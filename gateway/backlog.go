package gateway

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"fanjet/config"
	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

const backlogEvery = 5 * time.Second

// backlog measures what waits at each stage, and warns before a source drops
// events that were not matched. It only reads.
type backlog struct {
	js     jetstream.JetStream
	names  wire.Names
	config *config.Config
	log    *zap.Logger
	warned map[string]bool // sources whose oldest event is too old

	events     *prometheus.GaugeVec // source
	oldest     *prometheus.GaugeVec // source
	deliveries prometheus.Gauge
	retries    prometheus.Gauge
	letters    prometheus.Gauge
}

func newBacklog(reg prometheus.Registerer, js jetstream.JetStream, names wire.Names, cfg *config.Config, log *zap.Logger) *backlog {
	f := promauto.With(reg)
	b := &backlog{
		js: js, names: names, config: cfg, log: log, warned: make(map[string]bool),
		events: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fanjet_events_pending", Help: "Events of a source that are not acknowledged: something of them is neither delivered nor stored as a delivery.",
		}, []string{"source"}),
		oldest: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fanjet_events_oldest_seconds", Help: "Age of the oldest event of a source that is not acknowledged; 0 if there is none.",
		}, []string{"source"}),
		deliveries: f.NewGauge(prometheus.GaugeOpts{
			Name: "fanjet_deliveries_pending", Help: "Deliveries in the log that wait for, or are in, their first attempt; those that are made directly are not among them.",
		}),
		retries: f.NewGauge(prometheus.GaugeOpts{
			Name: "fanjet_retries_pending", Help: "Deliveries that wait for their next attempt, or are in it.",
		}),
		letters: f.NewGauge(prometheus.GaugeOpts{
			Name: "fanjet_dead_letters", Help: "Dead letters in the queue.",
		}),
	}
	for _, s := range cfg.Sources {
		b.events.WithLabelValues(s.Stream)
		b.oldest.WithLabelValues(s.Stream)
	}
	return b
}

func (b *backlog) run(ctx context.Context) {
	tick := time.NewTicker(backlogEvery)
	defer tick.Stop()
	for {
		b.measure(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// measure sets every gauge that can be read; the others keep their value. What
// cannot be read is the business of readiness.
func (b *backlog) measure(ctx context.Context) {
	for _, s := range b.config.Sources {
		b.measureSource(ctx, s.Stream)
	}
	if c, err := b.js.Consumer(ctx, b.names.DeliveriesStream(), b.names.DeliverConsumer()); err == nil {
		info := c.CachedInfo()
		b.deliveries.Set(float64(info.NumPending) + float64(info.NumAckPending))
	}
	for stream, gauge := range map[string]prometheus.Gauge{b.names.RetriesStream(): b.retries, b.names.DeadLettersStream(): b.letters} {
		if s, err := b.js.Stream(ctx, stream); err == nil {
			gauge.Set(float64(s.CachedInfo().State.Msgs))
		}
	}
}

func (b *backlog) measureSource(ctx context.Context, stream string) {
	c, err := b.js.Consumer(ctx, stream, b.names.MatchConsumer())
	if err != nil {
		return
	}
	info := c.CachedInfo()
	pending := info.NumPending + uint64(max(info.NumAckPending, 0))
	b.events.WithLabelValues(stream).Set(float64(pending))
	if pending == 0 {
		b.oldest.WithLabelValues(stream).Set(0)
		b.warned[stream] = false
		return
	}
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return
	}
	have := s.CachedInfo()
	stored, err := jsapi.StoredTime(ctx, b.js, stream, max(info.AckFloor.Stream+1, have.State.FirstSeq))
	if err != nil || stored.IsZero() {
		return
	}
	age := max(have.TimeStamp.Sub(stored), 0)
	b.oldest.WithLabelValues(stream).Set(age.Seconds())
	late := have.Config.MaxAge > 0 && age > have.Config.MaxAge/2
	if late && !b.warned[stream] {
		b.log.Error("events wait so long that the stream may drop them before they are fanned out",
			zap.String("source", stream), zap.Duration("oldest", age), zap.Duration("max_age", have.Config.MaxAge), zap.Uint64("pending", pending))
	}
	b.warned[stream] = late
}
