package admin

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Why requests are refused, as labels.
const (
	refusedHost    = "host"
	refusedOrigin  = "origin"
	refusedRate    = "rate"
	refusedNoToken = "no_token"
	refusedToken   = "wrong_token"
	refusedScope   = "scope"
)

type metrics struct {
	requests *prometheus.CounterVec // method, route, class
	refused  *prometheus.CounterVec // reason
	records  *prometheus.CounterVec // result
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_admin_requests_total", Help: "Requests of the admin listener, by method, route and class of the status.",
		}, []string{"method", "route", "class"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_admin_refused_total", Help: "Requests of the admin listener that were refused, by reason.",
		}, []string{"reason"}),
		records: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_audit_records_total", Help: "Records of what operators did by the API, and the gateway by itself, by result.",
		}, []string{"result"}),
	}
	for _, reason := range [...]string{refusedHost, refusedOrigin, refusedRate, refusedNoToken, refusedToken, refusedScope} {
		m.refused.WithLabelValues(reason)
	}
	m.records.WithLabelValues("stored")
	m.records.WithLabelValues("failed")
	return m
}

func (m *metrics) recorded(err error) {
	if err != nil {
		m.records.WithLabelValues("failed").Inc()
		return
	}
	m.records.WithLabelValues("stored").Inc()
}

// count counts a request. A method that no route has is "other": clients choose
// the word.
func (m *metrics) count(w *answer, method string) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(method, w.route, strconv.Itoa(w.code()/100)+"xx").Inc()
}

// answer remembers what a request was answered with, and its route.
type answer struct {
	http.ResponseWriter
	route  string
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) code() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}
