package gate

import (
	"net/http"
	"time"

	"fanjet/subscriber/outcome"
)

// An endpoint is gone after that many answers 410 in a row, each soon after the
// one before: one can be a mistake of a deployment. The dispatcher pauses it then (hear.go).
const (
	goneAnswers = 3
	goneWithin  = 10 * time.Minute
)

// goneCount counts answers 410 Gone.
type goneCount struct {
	answers  int
	latest   time.Time
	reported bool
}

// count reports, once, that the endpoint is gone.
func (g *goneCount) count(now time.Time, r outcome.Result) bool {
	switch r.Status {
	case 0: // no answer says nothing
		return false
	case http.StatusGone:
	default:
		g.answers = 0
		return false
	}
	if now.Sub(g.latest) > goneWithin {
		g.answers = 0
	}
	g.answers++
	g.latest = now
	if g.answers < goneAnswers || g.reported {
		return false
	}
	g.reported = true
	return true
}
