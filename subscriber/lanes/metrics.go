package lanes

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the instruments of the lanes.
type metrics struct {
	holding, active, pending prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		holding: f.NewGauge(prometheus.GaugeOpts{
			Name: "fanjet_lanes",
			Help: "Endpoints whose lanes hold deliveries.",
		}),
		active: f.NewGauge(prometheus.GaugeOpts{
			Name: "fanjet_lanes_active",
			Help: "Lanes that deliveries are taken from now.",
		}),
		pending: f.NewGauge(prometheus.GaugeOpts{
			Name: "fanjet_lanes_pending",
			Help: "Deliveries in lanes, settled ones that are not removed yet included.",
		}),
	}
}
