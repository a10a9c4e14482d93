package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/audit"
	"fanjet/internal/state"
	"fanjet/subscriber/endpoint"
)

// ErrNothingToSkip means that no delivery blocks the line of an endpoint.
var ErrNothingToSkip = errors.New("no delivery blocks its line, so there is none to skip")

// PauseReport is what became of a pause or a resume. Its JSON is what the
// command line and the API show.
type PauseReport struct {
	Endpoint   string          `json:"endpoint"`
	Changed    bool            `json:"changed"`               // false: it was so already
	Pause      *endpoint.Pause `json:"pause,omitempty"`       // in force, or that ended
	Held       *uint64         `json:"held,omitempty"`        // deliveries that waited when it ended
	Lifted     []LiftReport    `json:"lifted,omitempty"`      // what else a resume ended
	Skipped    string          `json:"skipped,omitempty"`     // key of the delivery that is dead-lettered
	AuditError string          `json:"audit_error,omitempty"` // why it is not recorded
	// Gateways is who took part in a resume, of those that live.
	Gateways Gateways `json:"gateways,omitzero"`
}

// LiftReport is what gateways ended at an endpoint that was in the same state for
// them.
type LiftReport struct {
	endpoint.Lifted     // of the one that would have waited the longest
	Gateways        int `json:"gateways"`
}

// PingReport is what became of a test event.
type PingReport struct {
	PingAnswer
	AuditError string `json:"audit_error,omitempty"` // why it is not recorded
}

// Pause holds the deliveries of an endpoint until it is resumed. One that is
// paused already stays as it is. The endpoint need not be known; see
// [Operator.Check].
func (o *Operator) Pause(ctx context.Context, by audit.Actor, name, reason string) (PauseReport, error) {
	p := endpoint.Pause{Since: o.now(ctx), By: by.Name, Reason: reason}
	was, err := state.SetPause(ctx, o.opts.State, name, p)
	report := PauseReport{Endpoint: name, Changed: was == nil, Pause: cmp.Or(was, &p)}
	record := audit.Record{Action: audit.Pause, Target: name, Reason: reason}
	if err == nil && !report.Changed {
		record.Detail = "it was paused already"
	}
	record.Ended(err)
	report.AuditError = errorText(o.audit.write(ctx, by, record))
	return report, err
}

// Resume ends the pause of an endpoint, and in every gateway what it waits for
// besides, also if it is not paused; see [Lift]. With skip the delivery at which the line
// of an ordered endpoint stands is dead-lettered; the error is
// [ErrNothingToSkip] if there is none.
func (o *Operator) Resume(ctx context.Context, by audit.Actor, endpoint, reason string, skip bool) (PauseReport, error) {
	report, err := o.resume(ctx, by, endpoint, skip)
	record := audit.Record{Action: audit.Resume, Target: endpoint, Reason: reason}
	switch {
	case report.Skipped != "":
		record.Action, record.Detail = audit.Skip, "delivery "+report.Skipped
	case skip:
		record.Action = audit.Skip
	case err == nil && !report.Changed:
		record.Detail = "it was not paused"
	case report.Pause == nil && len(report.Lifted) > 0:
		record.Detail = "it was not paused, but " + string(report.Lifted[0].State)
	}
	record.Ended(err)
	report.AuditError = errorText(o.audit.write(ctx, by, record))
	return report, err
}

func (o *Operator) resume(ctx context.Context, by audit.Actor, endpoint string, skip bool) (PauseReport, error) {
	report := PauseReport{Endpoint: endpoint}
	bucket := o.opts.State
	if skip {
		pauses, err := state.Pauses(ctx, bucket)
		if err != nil {
			return report, err
		}
		report.Skipped = pauses[endpoint].Blocked
		if report.Skipped == "" {
			return report, fmt.Errorf("endpoint %s: %w", endpoint, ErrNothingToSkip)
		}
		// First: once the pause has ended, the gateway would try that one again.
		if err := state.SkipFirst(ctx, bucket, endpoint, report.Skipped); err != nil {
			return report, err
		}
	}
	backlog, err := BacklogOf(ctx, o.api(), o.opts.Names, endpoint) // before it goes
	if err != nil {
		return report, err
	}
	// Before the pause ends, which lets the gateways forget it as well.
	answers, gateways, err := Lift(ctx, o.conn(), o.opts.Names, endpoint)
	if err != nil && !errors.Is(err, ErrNoGateway) { // none runs, so none waits
		return report, err
	}
	report.Lifted, report.Gateways = mergeLifted(answers), gateways
	report.Changed = len(report.Lifted) > 0
	if report.Pause, err = state.ClearPause(ctx, bucket, endpoint); err != nil || report.Pause == nil {
		return report, err
	}
	report.Changed, report.Held = true, &backlog.Waiting
	return report, state.RecordResume(ctx, bucket, endpoint, state.Resume{
		At: o.now(ctx), By: by.Name, Pause: *report.Pause, Skipped: report.Skipped,
	})
}

// mergeLifted adds up what gateways ended, the worst state first.
func mergeLifted(answers []LiftAnswer) (merged []LiftReport) {
	for _, a := range answers {
		if a.Lifted == nil {
			continue
		}
		i := slices.IndexFunc(merged, func(r LiftReport) bool { return r.State == a.Lifted.State })
		if i < 0 {
			i, merged = len(merged), append(merged, LiftReport{Lifted: *a.Lifted})
		}
		merged[i].Gateways++
		if a.Lifted.Until.After(merged[i].Until) {
			merged[i].Lifted = *a.Lifted
		}
	}
	order := StatesByTrouble()
	slices.SortStableFunc(merged, func(a, b LiftReport) int {
		return slices.Index(order, a.State) - slices.Index(order, b.State)
	})
	return merged
}

// now is the time of the NATS server: what is stored is read on other machines. If
// the server does not say, which the next question to it will tell, it is ours.
func (o *Operator) now(ctx context.Context) time.Time {
	if status, err := o.opts.State.Status(ctx); err == nil {
		if bucket, ok := status.(*jetstream.KeyValueBucketStatus); ok && !bucket.StreamInfo().TimeStamp.IsZero() {
			return bucket.StreamInfo().TimeStamp.UTC()
		}
	}
	return time.Now().UTC()
}

// Ping lets one of the gateways send a test event to an endpoint; see [Ping].
func (o *Operator) Ping(ctx context.Context, by audit.Actor, endpoint string, timeout time.Duration) (PingReport, error) {
	answer, err := Ping(ctx, o.conn(), o.opts.Names, endpoint, timeout)
	record := audit.Record{Action: audit.Ping, Target: endpoint}
	record.Ended(err)
	if err == nil && !answer.OK() {
		record.Ended(errors.New(cmp.Or(answer.Error, "answered with status "+strconv.Itoa(answer.Status))))
	}
	err2 := o.audit.write(ctx, by, record)
	return PingReport{PingAnswer: answer, AuditError: errorText(err2)}, err
}
