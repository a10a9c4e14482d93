package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/audit"
	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// ErrNothingToPass means that a source has nothing that could be skipped up to a
// sequence: it is fanned out already, it is not there, or it is yet to come.
var ErrNothingToPass = errors.New("nothing to skip")

// EventsReport is what became of a wish to skip events. Its JSON is what the
// command line shows.
type EventsReport struct {
	Source string `json:"source"`
	From   uint64 `json:"from"` // sequence of the first event that is skipped
	To     uint64 `json:"to"`   // and of the last
	// Events is how many they are at most: some sequences may be empty, and a
	// gateway may be fanning out some of them.
	Events     uint64 `json:"events"`
	DryRun     bool   `json:"dry_run"`
	AuditError string `json:"audit_error,omitempty"` // why the end is not recorded
}

// EventsSkip says which events nobody shall get any more.
type EventsSkip struct {
	Source string // the stream
	To     uint64 // sequence of the last one
	Reason string // why, in the words of the actor
	DryRun bool   // only say which
}

// SkipEvents moves the cursor of a source forward: the events up to a sequence that
// are not fanned out yet never are. It works beside gateways, which notice within
// seconds, and without one. Events that they are fanning out at the moment may
// still be delivered. The cursor moves only if it is where it was looked at, and
// only forward; the error is [ErrNothingToPass] if there is nothing to skip.
//
// It leaves two records, of the beginning and of the end, and does not begin when
// the first cannot be stored. A dry run leaves one.
func (o *Operator) SkipEvents(ctx context.Context, by audit.Actor, skip EventsSkip) (EventsReport, error) {
	report := EventsReport{Source: skip.Source, To: skip.To, DryRun: skip.DryRun}
	at, err := o.sourceCursor(ctx, &report)
	if err != nil {
		return report, err
	}
	record := audit.Record{
		Action: audit.SkipEvents, Target: skip.Source, Reason: skip.Reason, DryRun: skip.DryRun, Result: audit.Started,
		Detail: fmt.Sprintf("events %d to %d", report.From, report.To),
	}
	if skip.DryRun {
		record.Result = audit.OK
		report.AuditError = errorText(o.audit.write(ctx, by, record))
		return report, nil
	}
	record.Operation = strings.ToLower(rand.Text()[:12])
	if err := o.audit.write(ctx, by, record); err != nil {
		return report, fmt.Errorf("nothing was done: %w", err)
	}
	for tries := 0; ; tries++ {
		err = o.moveCursor(ctx, skip.Source, at)
		if !jsapi.IsConflict(err) || tries == skipTries {
			break
		}
		// A gateway wrote it meanwhile.
		timer := time.NewTimer(skipPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if at, err = o.sourceCursor(ctx, &report); err != nil {
			break
		}
	}
	record.Detail = fmt.Sprintf("events %d to %d", report.From, report.To)
	record.Ended(err)
	report.AuditError = errorText(o.audit.write(ctx, by, record))
	return report, err
}

// PlanSkip says which events SkipEvents would skip, and leaves no record.
func (o *Operator) PlanSkip(ctx context.Context, skip EventsSkip) (EventsReport, error) {
	report := EventsReport{Source: skip.Source, To: skip.To, DryRun: true}
	_, err := o.sourceCursor(ctx, &report)
	return report, err
}

// A cursor is written by its gateway once a second at most.
const (
	skipTries = 50
	skipPause = 100 * time.Millisecond
)

// movedCursor is a cursor that is to be stored.
type movedCursor struct {
	wire.Cursor
	revision uint64 // of the entry that it takes the place of; 0: there is none
}

// sourceCursor looks where the cursor of a source is, and returns where it shall
// be. It completes the report.
func (o *Operator) sourceCursor(ctx context.Context, report *EventsReport) (movedCursor, error) {
	stream, err := o.opts.JetStream.Stream(ctx, report.Source)
	if err != nil {
		return movedCursor{}, fmt.Errorf("looking at the stream %s: %w", report.Source, err)
	}
	info := stream.CachedInfo() // of just now
	next := movedCursor{Cursor: wire.Cursor{Created: info.Created, Sequence: report.To}}
	var at wire.Cursor
	entry, err := o.opts.State.Get(ctx, wire.CursorKey(report.Source))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
	case err != nil:
		return next, fmt.Errorf("reading the cursor of %s: %w", report.Source, err)
	default:
		next.revision = entry.Revision()
		if err := json.Unmarshal(entry.Value(), &at); err != nil {
			return next, fmt.Errorf("the cursor of %s is unreadable (key %s of the bucket %s): %w", report.Source, entry.Key(), entry.Bucket(), err)
		}
	}
	report.From = max(info.State.FirstSeq, 1)
	if at.Created.Equal(info.Created) {
		report.From = max(report.From, at.Sequence+1)
	}
	switch {
	case report.To > info.State.LastSeq:
		return next, fmt.Errorf("%w: the stream %s ends at %d", ErrNothingToPass, report.Source, info.State.LastSeq)
	case at.Created.Equal(info.Created) && report.To <= at.Sequence:
		return next, fmt.Errorf("%w: all events of %s up to %d are fanned out or skipped already", ErrNothingToPass, report.Source, at.Sequence)
	case report.To < report.From:
		return next, fmt.Errorf("%w: the stream %s begins at %d", ErrNothingToPass, report.Source, info.State.FirstSeq)
	}
	report.Events = report.To - report.From + 1
	next.Stored, err = o.storedBy(ctx, info, report.To)
	return next, err
}

// storedBy returns a time at which the event with a sequence, and all before it,
// were stored, and none that a stream which loses its end could store there anew.
func (o *Operator) storedBy(ctx context.Context, info *jetstream.StreamInfo, sequence uint64) (time.Time, error) {
	api := jsapi.Of(o.opts.JetStream)
	event, err := api.Message(ctx, info.Config.Name, sequence)
	if errors.Is(err, jsapi.ErrNoMessage) {
		event, err = api.Next(ctx, info.Config.Name, ">", sequence+1)
	}
	switch {
	case errors.Is(err, jsapi.ErrNoMessage):
		return info.State.LastTime, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("reading the event %s/%d: %w", info.Config.Name, sequence, err)
	}
	return event.Time, nil
}

// moveCursor stores a cursor, if the one that is there is still the same.
func (o *Operator) moveCursor(ctx context.Context, source string, next movedCursor) error {
	value, err := json.Marshal(next.Cursor)
	if err != nil {
		return err
	}
	key := wire.CursorKey(source)
	if next.revision == 0 {
		_, err = o.opts.State.Create(ctx, key, value)
	} else {
		_, err = o.opts.State.Update(ctx, key, value, next.revision)
	}
	if err != nil {
		return fmt.Errorf("writing the cursor of %s: %w", source, err)
	}
	return nil
}
