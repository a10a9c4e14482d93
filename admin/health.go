package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

const page = `<!doctype html>
<meta charset="utf-8">
<title>Fanjet</title>
<h1>Fanjet</h1>
<ul>
<li><a href="/livez">/livez</a>: does the process answer?
<li><a href="/readyz">/readyz</a>: can it make progress? If not, why not?
<li><a href="/metrics">/metrics</a>: for Prometheus
<li><a href="/api/v1/endpoints">/api/v1/endpoints</a>, <a href="/api/v1/dead-letters">/api/v1/dead-letters</a>,
    <a href="/api/v1/audit">/api/v1/audit</a>: the API
</ul>
`

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, page)
}

func (s *Server) live(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") }

// readiness is the JSON of /readyz.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // why not; empty when ready
}

// ready says whether the gateway can work. The reasons are for those who may
// look: they name streams and servers.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	fault, status := s.opts.Ready(), http.StatusOK
	if fault != nil {
		status = http.StatusServiceUnavailable
	}
	why := reasons(fault)
	if client := whoIs(r); !client.direct && !client.scope.Covers(ScopeRead) {
		why = []string{}
	}
	if wantsJSON(r) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(readiness{Ready: fault == nil, Reasons: why})
		return
	}
	if fault == nil {
		writeText(w, status, "ok")
		return
	}
	writeText(w, status, strings.Join(append([]string{"not ready"}, why...), "\n"))
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
