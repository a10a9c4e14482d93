package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"fanjet/dlq"
	"fanjet/internal/control"
)

// selection is the body of a replay or a purge.
type selection struct {
	Endpoint given[string]  `json:"endpoint"`
	Reason   given[string]  `json:"reason"`
	Subject  given[string]  `json:"subject"`
	Since    given[string]  `json:"since"`
	Until    given[string]  `json:"until"`
	ID       given[string]  `json:"id"`
	Limit    given[int]     `json:"limit"`
	All      given[bool]    `json:"all"` // every letter is meant
	DryRun   given[bool]    `json:"dry_run"`
	Rate     given[float64] `json:"rate"` // letters a second; 0: as fast as NATS can
	Note     string         `json:"note"` // why, for the audit
}

// given is a value that a request may leave out. One that is there, but null, or
// there twice, is refused: what the client meant was lost, and without it far more
// would be selected, or done in earnest.
type given[T any] struct {
	value T
	set   bool
}

var (
	errNull  = errors.New("a value is null; leave it out, or give it one")
	errTwice = errors.New("a value is given twice")
)

// UnmarshalJSON implements [json.Unmarshaler].
func (g *given[T]) UnmarshalJSON(data []byte) error {
	switch {
	case string(data) == "null":
		return errNull
	case g.set:
		return errTwice
	}
	g.set = true
	return json.Unmarshal(data, &g.value)
}

// checkGiven refuses filters that are given, but select nothing or everything.
func (b *selection) checkGiven() error {
	for _, f := range []struct {
		name string
		text given[string]
	}{
		{"endpoint", b.Endpoint},
		{"reason", b.Reason},
		{"subject", b.Subject},
		{"since", b.Since},
		{"until", b.Until},
		{"id", b.ID},
	} {
		if f.text.set && strings.TrimSpace(f.text.value) == "" {
			return newProblem(http.StatusUnprocessableEntity, f.name+" is given, but empty; leave it out, or give it a value")
		}
	}
	if b.Limit.set && b.Limit.value == 0 {
		return newProblem(http.StatusUnprocessableEntity, "limit: 0 selects no letter; without a limit, leave it out")
	}
	return nil
}

// filter is what is selected. Nobody selects everything by leaving out something.
func (b *selection) filter(now time.Time) (dlq.Filter, error) {
	if err := b.checkGiven(); err != nil {
		return dlq.Filter{}, err
	}
	since, err := control.ParseTime(b.Since.value, now)
	if err != nil {
		return dlq.Filter{}, badRequest("since: %v", err)
	}
	until, err := control.ParseTime(b.Until.value, now)
	if err != nil {
		return dlq.Filter{}, badRequest("until: %v", err)
	}
	f := dlq.Filter{
		Endpoint: b.Endpoint.value, Reason: dlq.Reason(b.Reason.value), Subject: b.Subject.value,
		Since: since, Until: until, ID: b.ID.value, Limit: b.Limit.value,
	}
	if err := f.Validate(); err != nil {
		return f, badRequest("%v", err)
	}
	switch every := f.Every(); {
	case every && !b.All.value:
		return f, newProblem(http.StatusUnprocessableEntity, `nothing says which letters: give endpoint, reason, subject, since, until or id, or "all": true`)
	case !every && b.All.value:
		return f, newProblem(http.StatusUnprocessableEntity, `"all": true and a filter contradict each other`)
	case b.Rate.value < 0:
		return f, badRequest("rate: must not be negative")
	}
	return f, checkReason(b.Note)
}
