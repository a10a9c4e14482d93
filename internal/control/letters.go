package control

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fanjet/dlq"
	"fanjet/internal/audit"
)

// Letters acts on dead letters, and records it. Its methods may be called
// concurrently.
//
// A replay, a purge and a drain leave two records, of the beginning and of the end. They
// do not begin when the first cannot be stored. A dry run leaves one.
type Letters struct {
	*dlq.Queue
	operator *Operator
}

// OpenLetters finds the dead-letter queue of the installation that an operator
// acts on; see [dlq.Open].
func OpenLetters(ctx context.Context, o *Operator) (*Letters, error) {
	queue, err := dlq.Open(ctx, o.opts.JetStream, o.opts.Names)
	if err != nil {
		return nil, err
	}
	return &Letters{Queue: queue, operator: o}, nil
}

// Check returns [ErrUnknownEndpoint] if a filter names an endpoint that is in no
// configuration and for which nothing is stored: it selects nothing, and its name
// is a slip.
func (l *Letters) Check(ctx context.Context, f dlq.Filter) error {
	if f.Endpoint == "" {
		return nil
	}
	if _, ok := l.operator.Configured()[f.Endpoint]; ok {
		return nil
	}
	if n, err := l.Count(ctx, dlq.Filter{Endpoint: f.Endpoint}); err != nil || n > 0 {
		return err
	}
	return l.operator.Check(ctx, f.Endpoint)
}

// Act is who acts on many letters, and why.
type Act struct {
	By       audit.Actor
	Reason   string // in the words of the actor
	Selected int    // letters that the filter selected when it was frozen
	// Unrecorded lets the act go on without the record of its beginning: on a disk
	// that is full, a purge may be what makes room for one.
	Unrecorded bool

	detail string // for the record
}

// LettersReport is what became of a replay, a purge or a drain. Its JSON is what the
// command line and the API show.
type LettersReport struct {
	Done       int             `json:"done"`
	Skipped    int             `json:"skipped"` // gone already
	Failed     int             `json:"failed"`  // that stay
	Failures   []LetterFailure `json:"failures"`
	DryRun     bool            `json:"dry_run"`
	Complete   bool            `json:"complete"`              // false: not all that were selected were handled; ask again
	Waiting    []Waiting       `json:"waiting,omitempty"`     // replayed, but their endpoint gets nothing at the moment
	Error      string          `json:"error,omitempty"`       // what stopped it
	AuditError string          `json:"audit_error,omitempty"` // why it is not recorded

	Outcome dlq.Outcome `json:"-"`
}

// NothingSelected is the report of an act on no letter.
func NothingSelected() LettersReport {
	return LettersReport{Failures: []LetterFailure{}, Complete: true}
}

// LetterFailure is a letter that stays, and why. A report has the first 100.
type LetterFailure struct {
	Seq      uint64 `json:"seq"`
	Endpoint string `json:"endpoint"`
	Error    string `json:"error"`
}

// Replay replays letters; see [dlq.Queue.Replay]. Those of endpoints that are
// removed stay, see [Letters.Outlook]. The report is complete also when there is
// an error, which says what stopped it.
func (l *Letters) Replay(ctx context.Context, act Act, f dlq.Filter, outlook Outlook, o dlq.ReplayOptions) (LettersReport, error) {
	o.Refuse = outlook.Refuse
	report, err := l.record(ctx, audit.Replay, act, f, o.DryRun, func() (dlq.Outcome, error) { return l.Queue.Replay(ctx, f, o) })
	report.Waiting = outlook.Waiting
	return report, err
}

// Purge removes letters for good; see [dlq.Queue.Purge]. For the rest it is as
// Replay.
func (l *Letters) Purge(ctx context.Context, act Act, f dlq.Filter, o dlq.PurgeOptions) (LettersReport, error) {
	return l.record(ctx, audit.Purge, act, f, o.DryRun, func() (dlq.Outcome, error) { return l.Queue.Purge(ctx, f, o) })
}

// Drain moves letters to a file; see [dlq.Queue.Drain]. For the rest it is as
// Replay. The record names the file.
func (l *Letters) Drain(ctx context.Context, act Act, f dlq.Filter, file *dlq.DrainFile, o dlq.DrainOptions) (LettersReport, error) {
	if file != nil {
		act.detail = "to " + file.Path()
	}
	return l.record(ctx, audit.Drain, act, f, o.DryRun, func() (dlq.Outcome, error) { return l.Queue.Drain(ctx, f, file, o) })
}

// record does something between the records of its beginning and of its end.
func (l *Letters) record(ctx context.Context, action audit.Action, act Act, f dlq.Filter, dryRun bool, do func() (dlq.Outcome, error)) (LettersReport, error) {
	r := audit.Record{Action: action, Target: f.Endpoint, Filter: FilterText(f), Detail: act.detail, Reason: act.Reason, DryRun: dryRun}
	var unrecorded error
	if !dryRun {
		r.Operation = strings.ToLower(rand.Text()[:12])
		r.Count, r.Result = act.Selected, audit.Started
		if unrecorded = l.operator.audit.write(ctx, act.By, r); unrecorded != nil && !act.Unrecorded {
			return LettersReport{Failures: []LetterFailure{}, Error: unrecorded.Error()}, fmt.Errorf("nothing was done: %w", unrecorded)
		}
	}
	outcome, err := do()
	if err == nil && !dryRun {
		// A letter that was gone before it was looked at is skipped, too.
		outcome.Skipped = max(outcome.Skipped, act.Selected-outcome.Done-outcome.Failed)
	}
	r.Count, r.Skipped, r.Failed = outcome.Done, outcome.Skipped, outcome.Failed
	r.Ended(err)
	if failed := l.operator.audit.write(ctx, act.By, r); failed != nil {
		unrecorded = failed
	}
	report := LettersReport{
		Done: outcome.Done, Skipped: outcome.Skipped, Failed: outcome.Failed, Failures: []LetterFailure{},
		DryRun: dryRun, Complete: err == nil, Error: errorText(err), AuditError: errorText(unrecorded), Outcome: outcome,
	}
	for _, f := range outcome.Failures {
		report.Failures = append(report.Failures, LetterFailure{f.Seq, f.Endpoint, f.Err.Error()})
	}
	return report, err
}

// FilterText is a filter as the names and values of the command line's flags.
func FilterText(f dlq.Filter) map[string]string {
	text := make(map[string]string)
	set := func(name, value string) {
		if value != "" {
			text[name] = value
		}
	}
	set("endpoint", f.Endpoint)
	set("reason", string(f.Reason))
	set("subject", f.Subject)
	set("id", f.ID)
	if !f.Since.IsZero() {
		set("since", f.Since.UTC().Format(time.RFC3339))
	}
	if !f.Until.IsZero() {
		set("until", f.Until.UTC().Format(time.RFC3339))
	}
	if f.Limit > 0 {
		set("limit", strconv.Itoa(f.Limit))
	}
	return text
}
