package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/jsapi"
)

// Filter selects records; the zero value selects all. Every field that is set
// has to match.
type Filter struct {
	Since  time.Time // recorded at this time or later
	Until  time.Time // recorded before this time
	Action Action
	Actor  string // name
	Before uint64 // records with a smaller sequence; 0: all. The next page
	Limit  int    // the newest so many; 0: no limit
}

// Validate says what is wrong with the filter.
func (f *Filter) Validate() error {
	if f.Action != "" && !f.Action.Valid() {
		return fmt.Errorf("action: %q is unknown; it is one of %v", f.Action, Actions())
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return fmt.Errorf("since: %s is not before until, %s", f.Since.Format(time.RFC3339), f.Until.Format(time.RFC3339))
	}
	if f.Limit < 0 {
		return fmt.Errorf("limit: %d is negative; 0 means no limit", f.Limit)
	}
	return nil
}

func (f *Filter) match(r *Record) bool {
	return (f.Action == "" || r.Action == f.Action) &&
		(f.Actor == "" || r.Actor.Name == f.Actor) &&
		(f.Since.IsZero() || !r.Time.Before(f.Since)) &&
		(f.Until.IsZero() || r.Time.Before(f.Until))
}

const (
	pageRecords = 256
	pageTimeout = 10 * time.Second
	// clockSlack is how far the stored times of neighbouring records may run
	// backwards, after another server of a cluster became the stream's leader.
	clockSlack = time.Minute
)

// List yields the records that the filter selects, the newest first. It needs
// no consumer and changes nothing. It ends after the first error.
func (l *Log) List(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := l.list(ctx, f, func(r Record) bool { return yield(r, nil) }); err != nil {
			yield(Record{}, err)
		}
	}
}

// list hands records to yield until that returns false.
func (l *Log) list(ctx context.Context, f Filter, yield func(Record) bool) error {
	if err := f.Validate(); err != nil {
		return err
	}
	first, last, err := l.bounds(ctx)
	if err != nil {
		return err
	}
	if f.Before > 0 {
		last = min(last, f.Before-1)
	}
	// Sequences have no gaps: nothing but age and size removes records.
	for found := 0; last >= first && last > 0; {
		from := max(first, last-min(last, pageRecords)+1)
		page, err := l.whole(ctx, from, last)
		if err != nil {
			return err
		}
		for _, r := range slices.Backward(page) {
			if !f.Since.IsZero() && r.Time.Before(f.Since.Add(-clockSlack)) {
				return nil
			}
			if r.Seq > last || !f.match(&r) {
				continue
			}
			found++
			if !yield(r) || found == f.Limit {
				return nil
			}
		}
		last = from - 1
	}
	return nil
}

// bounds are the sequences of the oldest and of the newest record; the stream
// is empty if the first is the larger one.
func (l *Log) bounds(ctx context.Context) (first, last uint64, err error) {
	stream, err := l.js.Stream(ctx, l.names.AuditStream())
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return 0, 0, fmt.Errorf("the stream %s does not exist; has a gateway ever run against this NATS, with the prefix %q?",
			l.names.AuditStream(), l.names.Prefix())
	case err != nil:
		return 0, 0, fmt.Errorf("opening the stream %s: %w", l.names.AuditStream(), err)
	}
	state := stream.CachedInfo().State // of just now
	return state.FirstSeq, state.LastSeq, nil
}

var errNoAnswer = errors.New("NATS did not send all of the records that were asked for; try again")

// How long the answers of replicas that lag behind the leader are asked for again.
const (
	lagPatience = 5 * time.Second
	lagPause    = 20 * time.Millisecond
)

// whole reads the records from one sequence to another, which the leader of the
// stream has. Any replica answers, and one that lags does not have the latest yet.
func (l *Log) whole(ctx context.Context, from, last uint64) ([]Record, error) {
	for deadline := time.Now().Add(lagPatience); ; {
		page, err := l.page(ctx, from, int(last-from+1))
		if err != nil || len(page) > 0 && page[len(page)-1].Seq >= last {
			return page, err
		}
		if time.Now().After(deadline) {
			return nil, errNoAnswer
		}
		select {
		case <-time.After(lagPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// page reads records from a sequence on, at most so many, by one batched direct
// get (NATS ADR-31).
func (l *Log) page(ctx context.Context, from uint64, size int) ([]Record, error) {
	question, err := json.Marshal(struct {
		Seq     uint64 `json:"seq"`
		Subject string `json:"next_by_subj"`
		Batch   int    `json:"batch"`
	}{from, l.names.AuditSubject("*", "*"), size})
	if err != nil {
		return nil, err
	}
	nc := l.js.Conn()
	answers := make(chan *nats.Msg, size+1) // the records, and the end of the page
	inbox := nc.NewInbox()
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	if err := nc.PublishRequest(jsapi.Of(l.js).Subject("DIRECT.GET."+l.names.AuditStream()), inbox, question); err != nil {
		return nil, err
	}
	timeout := time.NewTimer(pageTimeout)
	defer timeout.Stop()
	var records []Record
	for {
		select {
		case m := <-answers:
			if m.Header.Get(jetstream.StreamHeader) != "" {
				records = append(records, decode(m))
				continue
			}
			switch status := m.Header.Get("Status"); status {
			case "204", "404":
				return records, nil
			default:
				return nil, fmt.Errorf("reading the stream %s: NATS answered %s %s", l.names.AuditStream(), status, m.Header.Get("Description"))
			}
		case <-timeout.C:
			return nil, errNoAnswer
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// decode reads a stored message. One that is no record of ours, because somebody
// else published it, is a record that says so.
func decode(m *nats.Msg) Record {
	// The server's headers are the last ones, whatever was stored before them.
	last := func(key string) string {
		values := m.Header[key]
		if len(values) == 0 {
			return ""
		}
		return values[len(values)-1]
	}
	var r Record
	if err := json.Unmarshal(m.Data, &r); err != nil {
		r = Record{Result: Unreadable, Detail: "somebody else than Fanjet wrote this record"}
	}
	switch {
	case r.Result == "":
		r.Result = Unreadable
	case !slices.Contains(results[:], r.Result):
		r.failed(r.Result) // earlier versions wrote here what went wrong
	}
	tokens := strings.Split(last(jetstream.SubjectHeader), ".")
	if n := len(tokens); n >= 2 {
		r.Via, r.Action = Via(tokens[n-2]), Action(tokens[n-1])
	}
	r.Actor.Via = r.Via
	r.Actor.Authenticated = r.Actor.Authenticated && r.Via == ViaAPI
	r.Seq, _ = strconv.ParseUint(last(jetstream.SequenceHeader), 10, 64)
	r.Time, _ = time.Parse(time.RFC3339Nano, last(jetstream.TimeStampHeaer))
	return r
}
