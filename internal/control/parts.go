package control

import (
	"encoding/json"
	"fmt"
	"time"

	"fanjet/subscriber"
)

// maxPart bounds a message of an answer, in bytes, also where NATS takes larger
// ones.
const maxPart = 256 << 10

// partHeadroom is what a part is larger than the statuses in it, in bytes.
const partHeadroom = 1 << 10

// part is one message of a gateway's answer: ten thousand endpoints do not fit
// into one.
type part struct {
	Replica  Replica           `json:"replica"`
	Part     int               `json:"part"` // from 0
	Parts    int               `json:"parts"`
	Clock    time.Time         `json:"clock,omitzero"` // when it answered
	Statuses []json.RawMessage `json:"endpoints"`
}

// Parts lays the answer of a gateway out in messages that NATS takes; maxPayload
// is its limit, in bytes. There is at least one.
func Parts(replica Replica, statuses []subscriber.Status, maxPayload int64) ([][]byte, error) {
	limit := max(int(min(maxPart, maxPayload-partHeadroom)), 1)
	groups := [][]json.RawMessage{{}}
	size := 0
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
		text, err := json.Marshal(part{Replica: replica, Part: i, Parts: len(groups), Clock: time.Now(), Statuses: group})
		if err != nil {
			return nil, fmt.Errorf("status of endpoints: %w", err)
		}
		messages[i] = text
	}
	return messages, nil
}

// assembly puts the parts of all answers together.
type assembly struct {
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
	if from.have[p.Part] {
		return nil
	}
	from.have[p.Part] = true
	for _, text := range p.Statuses {
		var s subscriber.Status
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
