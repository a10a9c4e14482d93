package admin

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"fanjet/dlq"
	"fanjet/internal/control"
)

const (
	pageSize    = 100
	maxPageSize = 1000
)

// listLetters answers with a page of letters, without headers and bodies.
func (s *Server) listLetters(w http.ResponseWriter, r *http.Request, in *Installation) (any, error) {
	p := query(r, "endpoint", "reason", "subject", "since", "until", "id", "limit", "after")
	filter := dlq.Filter{
		Endpoint: p.text("endpoint"), Reason: dlq.Reason(p.text("reason")), Subject: p.text("subject"), ID: p.text("id"),
		Since: p.time("since"), Until: p.time("until"),
		Limit: p.limit(), After: p.number("after", 0, math.MaxUint64),
	}
	if p.err != nil {
		return nil, p.err
	}
	if err := filter.Validate(); err != nil {
		return nil, badRequest("%v", err)
	}
	if err := in.Letters.Check(r.Context(), filter); err != nil {
		return nil, err
	}
	letters := []dlq.Letter{}
	for l, err := range in.Letters.List(r.Context(), filter) {
		if err != nil {
			return nil, err
		}
		l.Headers, l.Data = nil, nil
		letters = append(letters, l)
	}
	if len(letters) == filter.Limit {
		linkNext(w, r, "after", letters[len(letters)-1].Seq)
	}
	return letters, nil
}

// showLetter answers with a letter. The event itself, headers and body, is for
// those who may send it: it is what others must not see.
func (s *Server) showLetter(_ http.ResponseWriter, r *http.Request, in *Installation) (any, error) {
	p := query(r, "body")
	if p.err != nil {
		return nil, p.err
	}
	seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 64)
	if err != nil || seq == 0 {
		return nil, newProblem(http.StatusNotFound, "a letter is named by its sequence, a number")
	}
	body := false
	if p.values.Has("body") {
		if body, err = strconv.ParseBool(p.text("body")); err != nil {
			return nil, badRequest("body: %q is neither 1 nor 0", p.text("body"))
		}
	}
	if body && !whoIs(r).scope.Covers(ScopeOperate) {
		s.metrics.refused.WithLabelValues(refusedScope).Inc()
		return nil, newProblem(http.StatusForbidden, "the body of an event needs a token with the scope "+string(ScopeOperate))
	}
	letter, err := in.Letters.Get(r.Context(), seq)
	if err != nil {
		return nil, err
	}
	if !body {
		letter.Headers, letter.Data = nil, nil
		return &letter, nil
	}
	if err := in.Letters.Resolve(r.Context(), &letter); err != nil {
		return nil, newProblem(http.StatusNotFound, "the letter has no body of its own, and "+err.Error())
	}
	return &letter, nil
}

func (s *Server) replayLetters(w http.ResponseWriter, r *http.Request, in *Installation) (any, error) {
	return s.onLetters(w, r, in, func(ctx context.Context, act control.Act, f dlq.Filter, selected dlq.Counts, b *selection) (control.LettersReport, error) {
		outlook, err := in.Letters.Outlook(ctx, f, selected)
		if err != nil {
			return control.LettersReport{Failures: []control.LetterFailure{}}, err
		}
		return in.Letters.Replay(ctx, act, f, outlook, dlq.ReplayOptions{DryRun: b.DryRun.value, Rate: b.Rate.value})
	})
}

func (s *Server) purgeLetters(w http.ResponseWriter, r *http.Request, in *Installation) (any, error) {
	return s.onLetters(w, r, in, func(ctx context.Context, act control.Act, f dlq.Filter, _ dlq.Counts, b *selection) (control.LettersReport, error) {
		return in.Letters.Purge(ctx, act, f, dlq.PurgeOptions{DryRun: b.DryRun.value, Rate: b.Rate.value})
	})
}

// onLetters acts on the letters that a request selects, for a bounded time. What
// is not done then, the same request goes on with.
func (s *Server) onLetters(w http.ResponseWriter, r *http.Request, in *Installation,
	do func(context.Context, control.Act, dlq.Filter, dlq.Counts, *selection) (control.LettersReport, error),
) (any, error) {
	var body selection
	if err := errors.Join(query(r).err, decode(r, &body)); err != nil {
		return nil, err
	}
	filter, err := body.filter(time.Now())
	if err != nil {
		return nil, err
	}
	select {
	case s.bulk <- struct{}{}:
		defer func() { <-s.bulk }()
	default:
		w.Header().Set("Retry-After", "5")
		return nil, newProblem(http.StatusTooManyRequests, "others replay or purge at the moment; try again when they have ended")
	}
	// Longer than others; not every writer can.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bulkTime + bulkGrace))
	if err := in.Letters.Check(r.Context(), filter); err != nil {
		return nil, err
	}
	selected, err := in.Letters.Freeze(r.Context(), &filter) // what arrives from now on stays
	if err != nil {
		return nil, err
	}
	act := control.Act{By: whoIs(r).actor, Reason: body.Note, Selected: selected.Total()}
	report, err := do(r.Context(), act, filter, selected, &body)
	switch {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded):
		report.Error = "the time was up; ask again to go on"
	default:
		p := *problemOf(err)
		p.Report = &report
		return nil, &p
	}
	return report, nil
}
