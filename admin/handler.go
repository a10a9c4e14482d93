package admin

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes bounds the requests of /metrics that are answered at once.
const maxScrapes = 4

const page = `<!doctype html>
<meta charset="utf-8">
<title>Fanjet</title>
<h1>Fanjet</h1>
<ul>
<li><a href="/livez">/livez</a>: does the process answer?
<li><a href="/readyz">/readyz</a>: can it make progress? If not, why not?
<li><a href="/metrics">/metrics</a>: for Prometheus
</ul>
`

func routes(opts Options, errorLog *log.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page)
	})
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) { writeReady(w, r, opts.Ready()) })
	mux.Handle("/metrics", promhttp.HandlerFor(opts.Gatherer, promhttp.HandlerOpts{
		ErrorLog: errorLog,
		// One broken collector must not hide the others.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
	}))
	return mux
}

// guard refuses what no operator sends, before anything is looked at.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		switch {
		case !localHost(r.Host):
			writeText(w, http.StatusMisdirectedRequest, "this listener answers for localhost and loopback addresses only")
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			writeText(w, http.StatusMethodNotAllowed, "only GET and HEAD")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// localHost reports whether a Host header names this machine itself.
func localHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// readiness is the JSON of /readyz.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // why not; empty when ready
}

func writeReady(w http.ResponseWriter, r *http.Request, fault error) {
	status := http.StatusOK
	if fault != nil {
		status = http.StatusServiceUnavailable
	}
	if wantsJSON(r) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(readiness{Ready: fault == nil, Reasons: reasons(fault)})
		return
	}
	if fault == nil {
		writeText(w, status, "ok")
		return
	}
	writeText(w, status, "not ready\n"+strings.Join(reasons(fault), "\n"))
}

// reasons splits an error that was joined from several.
func reasons(err error) []string {
	if err == nil {
		return []string{}
	}
	joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err)
	if !ok || joined.Error() != err.Error() {
		return []string{err.Error()}
	}
	var list []string
	for _, e := range joined.Unwrap() {
		list = append(list, e.Error())
	}
	if strings.Join(list, "\n") != err.Error() {
		return []string{err.Error()} // its parts are words of one sentence
	}
	return list
}

// wantsJSON reports whether a client asked for JSON, by its Accept header or
// with ?verbose.
func wantsJSON(r *http.Request) bool {
	if r.URL.Query().Has("verbose") {
		return true
	}
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			mediaType, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(mediaType), "application/json") {
				return true
			}
		}
	}
	return false
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text+"\n")
}
