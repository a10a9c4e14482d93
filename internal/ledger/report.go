package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Kind is a way in which something went differently from the plain promise.
type Kind string

// The kinds. Repeat, Overlap and Cut can be explained by a fault; the others
// cannot.
const (
	Lost           Kind = "lost"                // accepted, and neither delivered, pending nor dead
	Repeat         Kind = "repeated"            // sent again although that was not its next attempt
	Burned         Kind = "burned"              // attempt numbers that no receiver saw, with a higher one, or a letter that counts them
	Overlap        Kind = "overlapping"         // two requests of a delivery at once
	Cut            Kind = "cut off"             // the connection broke in the middle of a request
	Forged         Kind = "signature not valid" // by the independent verifier
	UnknownEvent   Kind = "unknown event"       // neither id nor body is of an event
	ChangedBytes   Kind = "changed bytes"       // a known id with another body
	ChangedID      Kind = "changed webhook-id"  // a known body with another id
	WrongEndpoint  Kind = "wrong endpoint"      // an endpoint that was not to get the event
	OutOfOrder     Kind = "out of order"        // at an ordered endpoint
	StrangeLetter  Kind = "strange letter"      // a dead letter of no pair, or of one that was delivered
	OtherOutcome   Kind = "other outcome"       // accepted or dead, and something else was foretold
	StrangePending Kind = "strange delivery"    // a stored delivery of no pair
)

func (p problem) kind() Kind {
	return [...]Kind{"", Forged, UnknownEvent, ChangedBytes, ChangedID, WrongEndpoint, Cut}[p]
}

// maxOffences bounds Report.Offences.
const maxOffences = 100

// Report is the outcome of a check.
type Report struct {
	Accepted, Maybe int // events with and without a PubAck
	Pairs           int // of accepted events
	Requests        int
	Faults          int

	// Of the pairs, those of events without a PubAck included.
	Delivered int
	Dead      int // in the dead-letter queue, and never delivered
	Pending   int // neither
	Absent    int // of events without a PubAck, which need not arrive
	DeadToo   int // among Delivered: also in the dead-letter queue
	Again     int // attempts that got no answer, and were tried once more at once

	Explained map[Kind]int // what a fault explains
	Failed    map[Kind]int // what nothing explains
	Offences  []Offence    // the first 100 of what nothing explains

	// Reach is how long before its fault the work was done, at most, that was
	// repeated.
	Reach time.Duration
}

// Offence is what nothing explains, with its history.
type Offence struct {
	Kind    Kind
	Pair    Pair
	History []string
}

// Err is nil if the promise was kept; else it says how often it was not.
func (r *Report) Err() error {
	if len(r.Failed) == 0 {
		return nil
	}
	return fmt.Errorf("the account does not balance: %s", list(r.Failed))
}

// Count returns how often something of a kind happened, explained or not.
func (r *Report) Count(k Kind) int { return r.Explained[k] + r.Failed[k] }

func (r *Report) fail(o Offence) {
	r.Failed[o.Kind]++
	if len(r.Offences) < maxOffences {
		r.Offences = append(r.Offences, o)
	}
}

func (r *Report) furthest(d time.Duration) { r.Reach = max(r.Reach, d) }

// String prints the account, with the first ten offences.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events accepted, %d perhaps; %d pairs, %d requests, %d faults\n", r.Accepted, r.Maybe, r.Pairs, r.Requests, r.Faults)
	fmt.Fprintf(&b, "delivered %d, dead %d, pending %d, absent without a PubAck %d, delivered and dead %d\n", r.Delivered, r.Dead, r.Pending, r.Absent, r.DeadToo)
	fmt.Fprintf(&b, "lost %d; tried again at once without an answer %d\n", r.Failed[Lost], r.Again)
	fmt.Fprintf(&b, "explained by faults: %s (reaching back %v)\n", list(r.Explained), r.Reach.Round(time.Millisecond))
	fmt.Fprintf(&b, "explained by nothing: %s\n", list(r.Failed))
	for i, o := range r.Offences {
		if i == 10 {
			fmt.Fprintf(&b, "and %d more\n", len(r.Offences)-i)
			break
		}
		fmt.Fprintf(&b, "  %s: %s %s -> %s\n", o.Kind, o.Pair.Source, o.Pair.ID, o.Pair.Endpoint)
		for _, line := range o.History {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	return b.String()
}

// list prints counts, sorted by kind.
func list(counts map[Kind]int) string {
	if len(counts) == 0 {
		return "nothing"
	}
	parts := make([]string, 0, len(counts))
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, counts[kind]))
	}
	return strings.Join(parts, ", ")
}

// offence describes what happened to a pair.
func (c *checker) offence(kind Kind, p pair, requests []*request) Offence {
	e := &c.events[p.event]
	o := Offence{Kind: kind, Pair: Pair{Endpoint: c.names[p.endpoint], ID: e.id, Source: c.source(e)}}
	if len(c.report.Offences) >= maxOffences {
		return o
	}
	if e.accepted == 0 {
		o.History = append(o.History, "no PubAck")
	} else {
		o.History = append(o.History, "PubAck "+clock(time.Unix(0, e.accepted)))
	}
	first := e.accepted
	for _, r := range requests {
		if first == 0 {
			first = r.began
		}
		line := fmt.Sprintf("request %s, attempt %d", clock(time.Unix(0, r.began)), r.attempt)
		switch {
		case r.ended == 0:
			line += ", not ended"
		case r.status == 0:
			line += ", no answer until " + clock(time.Unix(0, r.ended))
		default:
			line += fmt.Sprintf(", answered %d at %s", r.status, clock(time.Unix(0, r.ended)))
		}
		if r.problem != sound {
			line += ", " + string(r.problem.kind())
		}
		o.History = append(o.History, line)
	}
	if reason, dead := c.dead[p]; dead {
		o.History = append(o.History, strings.TrimSpace("dead-lettered "+reason))
	}
	if _, pending := c.pending[p]; pending {
		o.History = append(o.History, "pending")
	}
	for _, at := range c.replays[p] {
		o.History = append(o.History, "replayed "+clock(time.Unix(0, at)))
	}
	for n := range c.faults {
		if f := &c.faults[n]; first != 0 && f.until() >= first-int64(f.Reach) {
			o.History = append(o.History, "fault "+f.String())
		}
	}
	return o
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "now"
	}
	return t.UTC().Format("15:04:05.000")
}
