package ledger

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"time"
)

// HistoryVersion is that of the format that [Ledger.Keep] writes.
//
// A history is NDJSON. Each line is an object with one key, which says what the
// line is about:
//
//	history  the first line: version, and run, which says for people what was run
//	ordered  an endpoint that must accept in order: endpoint
//	event    id, body (the hash, in hex), stream, sequence, published, accepted,
//	         endpoints, outcomes (by endpoint); events count from 0
//	request  event (its number), endpoint, attempt, began, ended, status, problem
//	stray    a request that belongs to no event: endpoint, id, body, attempt,
//	         began, problem
//	fault    what, from, until, reach, moment
//	replay   a letter that became a delivery again: event, endpoint, at
//	dead     a dead letter at the end: endpoint, id, source, reason, attempts
//	pending  a delivery that was stored at the end: endpoint, id, source
//	end      the last line: lines, the number of those before it
//
// What is zero or empty is left out. Times are as in RFC 3339, in UTC; durations as
// time.Duration prints them. A line comes after the events that it names. A reader
// refuses a version above its own, a line or a key that it does not know, and a
// history without its end. It reads those before: version 1 does not know attempts
// of dead letters.
const HistoryVersion = 2

type line struct {
	History *headLine    `json:"history,omitempty"`
	Ordered *orderedLine `json:"ordered,omitempty"`
	Event   *eventLine   `json:"event,omitempty"`
	Request *requestLine `json:"request,omitempty"`
	Stray   *strayLine   `json:"stray,omitempty"`
	Fault   *faultLine   `json:"fault,omitempty"`
	Replay  *replayLine  `json:"replay,omitempty"`
	Dead    *pairLine    `json:"dead,omitempty"`
	Pending *pairLine    `json:"pending,omitempty"`
	End     *endLine     `json:"end,omitempty"`
}

type headLine struct {
	Version int    `json:"version"`
	Run     string `json:"run,omitempty"`
}

type orderedLine struct {
	Endpoint string `json:"endpoint"`
}

type eventLine struct {
	ID        string             `json:"id,omitempty"`
	Body      string             `json:"body"`
	Stream    string             `json:"stream,omitempty"`
	Sequence  uint64             `json:"sequence,omitempty"`
	Published time.Time          `json:"published,omitzero"`
	Accepted  time.Time          `json:"accepted,omitzero"`
	Endpoints []string           `json:"endpoints,omitempty"`
	Outcomes  map[string]Outcome `json:"outcomes,omitempty"`
}

type requestLine struct {
	Event    int32     `json:"event"`
	Endpoint string    `json:"endpoint"`
	Attempt  int32     `json:"attempt,omitempty"`
	Began    time.Time `json:"began,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Status   int16     `json:"status,omitempty"`
	Problem  Kind      `json:"problem,omitempty"`
}

type strayLine struct {
	Endpoint string    `json:"endpoint,omitempty"`
	ID       string    `json:"id,omitempty"`
	Body     string    `json:"body,omitempty"`
	Attempt  int       `json:"attempt,omitempty"`
	Began    time.Time `json:"began,omitzero"`
	Problem  Kind      `json:"problem"`
}

type faultLine struct {
	What   string    `json:"what"`
	From   time.Time `json:"from,omitzero"`
	Until  time.Time `json:"until,omitzero"`
	Reach  string    `json:"reach,omitempty"`
	Moment string    `json:"moment,omitempty"`
}

type replayLine struct {
	Event    int32     `json:"event"`
	Endpoint string    `json:"endpoint"`
	At       time.Time `json:"at"`
}

type pairLine struct {
	Endpoint string `json:"endpoint"`
	ID       string `json:"id,omitempty"`
	Source   string `json:"source,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Attempts int    `json:"attempts,omitempty"`
}

type endLine struct {
	Lines int `json:"lines"`
}

// Keep writes everything that the ledger knows, and the standing that it is to be
// compared with, so that [Read] gives both again. run says what was run.
func (l *Ledger) Keep(w io.Writer, run string, s Standing) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := bufio.NewWriter(w)
	k := keeper{to: json.NewEncoder(out)}
	k.to.SetEscapeHTML(false)
	k.write(line{History: &headLine{HistoryVersion, run}})
	l.keepEvents(&k)
	l.keepRequests(&k)
	for _, f := range l.faults {
		k.write(line{Fault: &faultLine{f.What, f.From.UTC(), f.Until.UTC(), durationText(f.Reach), durationText(f.Moment)}})
	}
	for _, p := range slices.SortedFunc(maps.Keys(l.replays), comparePairs) {
		for _, at := range l.replays[p] {
			k.write(line{Replay: &replayLine{p.event, l.names[p.endpoint], timeOf(at)}})
		}
	}
	for _, p := range s.Dead {
		k.write(line{Dead: (*pairLine)(&p)})
	}
	for _, p := range s.Pending {
		k.write(line{Pending: (*pairLine)(&p)})
	}
	k.write(line{End: &endLine{k.lines}})
	return errors.Join(k.err, out.Flush())
}

func (l *Ledger) keepEvents(k *keeper) {
	for _, endpoint := range slices.Sorted(maps.Keys(l.ordered)) {
		k.write(line{Ordered: &orderedLine{l.names[endpoint]}})
	}
	outcomes := make(map[int32]map[string]Outcome)
	for p, outcome := range l.outcomes {
		if outcomes[p.event] == nil {
			outcomes[p.event] = make(map[string]Outcome)
		}
		outcomes[p.event][l.names[p.endpoint]] = outcome
	}
	for n := range l.events {
		e := &l.events[n]
		endpoints := make([]string, 0, len(l.sets[e.set]))
		for _, endpoint := range l.sets[e.set] {
			endpoints = append(endpoints, l.names[endpoint])
		}
		k.write(line{Event: &eventLine{
			e.id, hex.EncodeToString(e.body[:]), l.names[e.stream], e.sequence,
			timeOf(e.given), timeOf(e.accepted), endpoints, outcomes[int32(n)],
		}})
	}
}

func (l *Ledger) keepRequests(k *keeper) {
	for i := range l.requests {
		r := &l.requests[i]
		k.write(line{Request: &requestLine{
			r.event, l.names[r.endpoint], r.attempt, timeOf(r.began), timeOf(r.ended), r.status, r.problem.kind(),
		}})
	}
	for i := range l.strays {
		s := &l.strays[i]
		body := ""
		if s.Body != (Hash{}) {
			body = hex.EncodeToString(s.Body[:])
		}
		k.write(line{Stray: &strayLine{s.Endpoint, s.ID, body, s.Attempt, timeOf(nanos(s.Began)), s.problem.kind()}})
	}
}

// keeper writes lines until one fails.
type keeper struct {
	to    *json.Encoder
	lines int
	err   error
}

func (k *keeper) write(l line) {
	if k.err == nil {
		k.err = k.to.Encode(l)
		k.lines++
	}
}

// durationText is empty for 0.
func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// timeOf is the zero time for 0.
func timeOf(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

func comparePairs(a, b pair) int {
	if a.event != b.event {
		return int(a.event - b.event)
	}
	return int(a.endpoint - b.endpoint)
}
