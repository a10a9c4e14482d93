package ledger

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Read reads what [Ledger.Keep] wrote. An error names the line.
func Read(r io.Reader) (l *Ledger, run string, s Standing, err error) {
	in := reading{ledger: New()}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := in.line(lines.Text()); err != nil {
			return nil, "", Standing{}, fmt.Errorf("line %d: %w", in.lines+1, err)
		}
		in.lines++
	}
	if err := lines.Err(); err != nil {
		return nil, "", Standing{}, err
	}
	if !in.ended {
		return nil, "", Standing{}, errors.New("the history has no end: it was cut off")
	}
	return in.ledger, in.run, in.standing, nil
}

// reading is a history that is being read.
type reading struct {
	ledger   *Ledger
	standing Standing
	run      string
	lines    int
	ended    bool
}

func (in *reading) line(text string) error {
	// A newer version may have other keys, which must not be what is complained of.
	if in.lines == 0 {
		return in.head(text)
	}
	var one line
	from := json.NewDecoder(strings.NewReader(text))
	from.DisallowUnknownFields()
	if err := from.Decode(&one); err != nil {
		return err
	}
	l := in.ledger
	switch {
	case in.ended:
		return errors.New("a line after the end")
	case one.Ordered != nil:
		l.Ordered(one.Ordered.Endpoint)
	case one.Event != nil:
		return in.event(one.Event)
	case one.Request != nil:
		return in.request(one.Request)
	case one.Stray != nil:
		return in.stray(one.Stray)
	case one.Fault != nil:
		return in.fault(one.Fault)
	case one.Replay != nil:
		p := pair{one.Replay.Event, l.number(one.Replay.Endpoint)}
		if err := in.known(p.event); err != nil {
			return err
		}
		l.replays[p] = append(l.replays[p], nanos(one.Replay.At))
	case one.Dead != nil:
		in.standing.Dead = append(in.standing.Dead, Pair(*one.Dead))
	case one.Pending != nil:
		in.standing.Pending = append(in.standing.Pending, Pair(*one.Pending))
	case one.End != nil:
		if in.ended = true; one.End.Lines != in.lines {
			return fmt.Errorf("the end counts %d lines, and there are %d before it", one.End.Lines, in.lines)
		}
	default:
		return errors.New("a line about nothing")
	}
	return nil
}

func (in *reading) head(text string) error {
	var first struct {
		History *headLine `json:"history"`
	}
	err := json.Unmarshal([]byte(text), &first)
	switch {
	case err != nil:
		return err
	case first.History == nil:
		return errors.New("this is not a history")
	case first.History.Version < 1 || first.History.Version > HistoryVersion:
		return fmt.Errorf("the history has version %d, and this program reads version %d", first.History.Version, HistoryVersion)
	}
	in.run = first.History.Run
	return nil
}

func (in *reading) known(event int32) error {
	if event < 0 || int(event) >= len(in.ledger.events) {
		return fmt.Errorf("there is no event %d before this line", event)
	}
	return nil
}

func (in *reading) event(e *eventLine) error {
	body, err := hashOf(e.Body)
	if err != nil {
		return err
	}
	_, err = in.ledger.Publish(Event{
		ID: e.ID, Body: body, Stream: e.Stream, Sequence: e.Sequence,
		Published: e.Published, Accepted: e.Accepted, Endpoints: e.Endpoints, Outcomes: e.Outcomes,
	})
	return err
}

func (in *reading) request(r *requestLine) error {
	wrong, err := problemOf(r.Problem)
	if err != nil {
		return err
	}
	l := in.ledger
	l.requests = append(l.requests, request{
		event: r.Event, endpoint: l.number(r.Endpoint), began: nanos(r.Began), ended: nanos(r.Ended),
		attempt: r.Attempt, status: r.Status, problem: wrong,
	})
	return in.known(r.Event)
}

func (in *reading) stray(s *strayLine) error {
	wrong, err := problemOf(s.Problem)
	if err != nil {
		return err
	}
	var body Hash
	if s.Body != "" {
		if body, err = hashOf(s.Body); err != nil {
			return err
		}
	}
	in.ledger.strays = append(in.ledger.strays, stray{
		Request: Request{Endpoint: s.Endpoint, ID: s.ID, Body: body, Attempt: s.Attempt, Began: s.Began}, problem: wrong,
	})
	return nil
}

func (in *reading) fault(f *faultLine) error {
	reach, err := durationOf(f.Reach)
	if err != nil {
		return err
	}
	moment, err := durationOf(f.Moment)
	if err != nil {
		return err
	}
	in.ledger.Fault(Fault{What: f.What, From: f.From, Until: f.Until, Reach: reach, Moment: moment})
	return nil
}

func problemOf(k Kind) (problem, error) {
	for p := sound; p <= cut; p++ {
		if p.kind() == k {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%q is no problem of a request", k)
}

func hashOf(text string) (Hash, error) {
	var h Hash
	if len(text) != hex.EncodedLen(len(h)) {
		return h, fmt.Errorf("%q is no hash of a body", text)
	}
	_, err := hex.Decode(h[:], []byte(text))
	return h, err
}

func durationOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	return time.ParseDuration(text)
}
