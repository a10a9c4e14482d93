package control

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"fanjet/subscriber/endpoint"
)

// maxPart bounds a message of an answer, in bytes, also where NATS takes larger
// ones.
const maxPart = 256 << 10

// partHeadroom is what a part is larger than the statuses in it, in bytes.
const partHeadroom = 2 << 10

// part is one message of a gateway's answer: ten thousand endpoints do not fit
// into one.
type part struct {
	Replica  Replica           `json:"replica"`
	Part     int               `json:"part"` // from 0
	Parts    int               `json:"parts"`
	Clock    time.Time         `json:"clock,omitzero"` // when it answered
	Statuses []json.RawMessage `json:"endpoints"`
	// Peers are the gateways that it knows to live, itself included, in the first part;
	// none: it is of an earlier version and does not know.
	Peers []Peer `json:"gateways,omitempty"`
}

// Parts lays the answer of a gateway out in messages that NATS takes; maxPayload
// is its limit, in bytes. There is at least one. peers are the gateways that it knows
// to live.
func Parts(replica Replica, statuses []endpoint.Status, maxPayload int64, peers ...Peer) ([][]byte, error) {
	limit := max(int(min(maxPart, maxPayload-partHeadroom)), 1)
	groups := [][]json.RawMessage{{}}
	known, err := json.Marshal(peers)
	if err != nil {
		return nil, err
	}
	size := len(known)
	for _, s := range statuses {
		text, err := json.Marshal(s)
		if err != nil {
			return nil, fmt.Errorf("status of endpoint %s: %w", s.Endpoint, err)
		}
		last := len(groups) - 1
		if size += len(text) + 1; size > limit && len(groups[last]) > 0 {
			groups = append(groups, nil)
			size = len(text) + 1
			last++
		}
		groups[last] = append(groups[last], text)
	}
	messages := make([][]byte, len(groups))
	for i, group := range groups {
		if i > 0 {
			peers = nil
		}
		text, err := json.Marshal(part{Peers: peers, Replica: replica, Part: i, Parts: len(groups), Clock: time.Now(), Statuses: group})
		if err != nil {
			return nil, fmt.Errorf("status of endpoints: %w", err)
		}
		messages[i] = text
	}
	return messages, nil
}

// attendance is who lives, as far as gateways say that answer, and who answered.
type attendance struct {
	peers    map[string]Peer // that somebody knows
	answered map[string]bool
}

// note takes up an answer.
func (a *attendance) note(id string, peers []Peer) {
	if a.answered == nil {
		a.answered, a.peers = make(map[string]bool), make(map[string]Peer)
	}
	a.answered[id] = true
	for _, p := range peers {
		a.peers[p.ID] = p
	}
}

// silent are those that did not answer, in order of hosts.
func (a *attendance) silent() (silent []Peer) {
	for id, p := range a.peers {
		if !a.answered[id] {
			silent = append(silent, p)
		}
	}
	slices.SortFunc(silent, func(a, b Peer) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID)) })
	return silent
}

// gateways sums it up.
func (a *attendance) gateways() Gateways {
	silent := a.silent()
	return Gateways{Known: len(a.answered) + len(silent), Answered: len(a.answered), Silent: silent}
}

// wait is how long to go on waiting for answers, of all that is complete so far.
func (a *attendance) wait() time.Duration {
	if len(a.silent()) > 0 {
		return answerTime
	}
	return quiet
}

// assembly puts the parts of all answers together.
type assembly struct {
	attendance
	order   []string // ids of replicas, as they came
	answers map[string]*answer
}

type answer struct {
	report Report
	have   map[int]bool
	parts  int
}

// add takes a message. One that cannot be read is no part of an answer.
func (a *assembly) add(data []byte) error {
	var p part
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("unreadable answer of a gateway: %w", err)
	}
	if a.answers == nil {
		a.answers = make(map[string]*answer)
	}
	from := a.answers[p.Replica.ID]
	if from == nil {
		from = &answer{report: Report{Replica: p.Replica}, have: make(map[int]bool), parts: p.Parts}
		if !p.Clock.IsZero() {
			from.report.Ahead = time.Until(p.Clock)
		}
		a.answers[p.Replica.ID] = from
		a.order = append(a.order, p.Replica.ID)
	}
	if p.Part == 0 {
		a.note(p.Replica.ID, p.Peers)
	}
	if from.have[p.Part] {
		return nil
	}
	from.have[p.Part] = true
	for _, text := range p.Statuses {
		var s endpoint.Status
		if err := json.Unmarshal(text, &s); err != nil {
			return fmt.Errorf("unreadable answer of the gateway %s on %s: %w", p.Replica.ID, p.Replica.Host, err)
		}
		from.report.Statuses = append(from.report.Statuses, s)
	}
	return nil
}

// complete reports whether every gateway that began to answer has ended.
func (a *assembly) complete() bool {
	for _, from := range a.answers {
		if len(from.have) < from.parts {
			return false
		}
	}
	return true
}

// reports returns the answers; an error names one that is not complete.
func (a *assembly) reports() ([]Report, error) {
	reports := make([]Report, 0, len(a.order))
	for _, id := range a.order {
		from := a.answers[id]
		if len(from.have) < from.parts {
			return nil, fmt.Errorf("the gateway %s on %s sent %d of the %d parts of its answer; try again", id, from.report.Host, len(from.have), from.parts)
		}
		reports = append(reports, from.report)
	}
	return reports, nil
}
