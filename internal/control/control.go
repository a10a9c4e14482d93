package control

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// ErrNoGateway means that nobody answered.
var ErrNoGateway = errors.New("no gateway answers")

// Replica is a gateway that answers.
type Replica struct {
	ID      string    `json:"id"`   // random, one for each start
	Host    string    `json:"host"` // name of its machine
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// NotReady says why it cannot do its work at the moment; empty: it can.
	NotReady string `json:"not_ready,omitempty"`
	// RetryOverdue is for how many seconds the retry is overdue that waits for
	// longest although its time has come, because its schedule did not fire.
	RetryOverdue float64 `json:"retry_overdue_seconds,omitempty"`
	// ConfigRefused is why the latest version of its configuration is not in force;
	// empty: it is.
	ConfigRefused string `json:"config_refused,omitempty"`
	// EventsMissed is how many events left a source before it saw them, since its start.
	EventsMissed uint64 `json:"events_missed,omitempty"`
}

// Peer is a gateway that is known to live: it said so a moment ago.
type Peer struct {
	ID   string `json:"id"`
	Host string `json:"host"`
}

// Alive is what a gateway says of itself on [wire.Names.ControlAliveSubject].
type Alive struct {
	Peer
	Ends bool `json:"ends,omitempty"` // it says so for the last time
	// New asks all others to say that they live.
	New bool `json:"new,omitempty"`
}

// Gateways is how many gateways live, and how many of them answered. Zeros: it was
// not asked.
type Gateways struct {
	Known    int    `json:"known"`
	Answered int    `json:"answered"`
	Silent   []Peer `json:"silent,omitempty"` // those that did not
}

// String says who did not answer, such as "2 of 3 gateways answered; those on a do
// not"; empty if all did.
func (g Gateways) String() string {
	if len(g.Silent) == 0 {
		return ""
	}
	silent := make([]string, len(g.Silent))
	for i, p := range g.Silent {
		silent[i] = fmt.Sprintf("%s on %s", p.ID, p.Host)
	}
	return fmt.Sprintf("%d of %d gateways answered; not %s", g.Answered, g.Known, strings.Join(silent, ", "))
}

// StatusRequest asks every gateway how endpoints do.
type StatusRequest struct {
	Endpoints []string `json:"endpoints,omitempty"` // none: all
}

// Report is what one gateway says about endpoints. Endpoints that are not in
// its configuration are missing.
type Report struct {
	Replica
	Statuses []endpoint.Status
	// Ahead is by how much the clock of its machine is ahead of this one's, less
	// the time that its answer was on the way; zero if it does not say.
	Ahead time.Duration
}

// PingRequest asks one gateway to send a test event to an endpoint, which the
// subject names.
type PingRequest struct {
	// Timeout bounds the attempt, besides the endpoint's own timeout.
	Timeout time.Duration `json:"timeout_ns"`
}

// PingAnswer is what became of a test event.
type PingAnswer struct {
	Replica  Replica       `json:"replica"`
	Endpoint string        `json:"endpoint"`
	Class    outcome.Class `json:"class,omitempty"`  // empty: no attempt was made
	Status   int           `json:"status,omitempty"` // 0: there was no response
	TookMS   float64       `json:"took_ms"`          // until the response headers, or the failure
	Error    string        `json:"error,omitempty"`  // why there was no response, or no attempt

	// Why deliveries wait nevertheless, as this gateway knows it: a test event is
	// sent past all that, and changes nothing of it. Empty: they do not.
	State  endpoint.State `json:"state,omitempty"`
	Reason string         `json:"reason,omitempty"`
	Next   time.Time      `json:"next,omitzero"` // the next attempt, or the end of a wait
}

// LiftAnswer is what one gateway ended at an endpoint.
type LiftAnswer struct {
	Replica Replica          `json:"replica"`
	Lifted  *endpoint.Lifted `json:"lifted,omitempty"` // nil: there was nothing
	Error   string           `json:"error,omitempty"`  // why it did nothing; it may not know the endpoint
	Peers   []Peer           `json:"gateways,omitempty"`
}

// OK reports whether the endpoint took the event.
func (a *PingAnswer) OK() bool { return a.Class == outcome.Class2xx }
