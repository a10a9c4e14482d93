package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/nats-io/nats.go"

	"fanjet/dlq"
	"fanjet/internal/audit"
	"fanjet/internal/control"
)

// problem is the answer to a request that failed (RFC 9457).
type problem struct {
	Type   string `json:"type"`  // always about:blank: the status says it
	Title  string `json:"title"` // of the status
	Status int    `json:"status"`
	Detail string `json:"detail"` // what is wrong, and what to do
	// Report is what was done before a replay or a purge failed.
	Report *control.LettersReport `json:"report,omitempty"`
}

func newProblem(status int, detail string) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

// problemOf makes a problem of an error of what the API stands on.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	status := http.StatusInternalServerError
	for cause, s := range map[error]int{
		control.ErrUnknownEndpoint: http.StatusNotFound,
		control.ErrNothingToSkip:   http.StatusConflict,
		control.ErrRemoved:         http.StatusConflict,
		control.ErrNoGateway:       http.StatusServiceUnavailable,
		dlq.ErrNotFound:            http.StatusNotFound,
		audit.ErrNotStored:         http.StatusServiceUnavailable,
		nats.ErrTimeout:            http.StatusServiceUnavailable,
		nats.ErrNoResponders:       http.StatusServiceUnavailable,
		nats.ErrConnectionClosed:   http.StatusServiceUnavailable,
	} {
		if errors.Is(err, cause) {
			return newProblem(s, err.Error())
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return newProblem(http.StatusGatewayTimeout, "it took too long: name an endpoint or a time, so that there is less to look at ("+err.Error()+")")
	}
	return newProblem(status, err.Error())
}

func (p *problem) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
