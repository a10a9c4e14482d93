package overdue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fanjet/internal/servertime"
)

// judge decides about a schedule that is there.
func (w *Watch) judge(ctx context.Context, s *schedule, now time.Time) error {
	if s.due.IsZero() {
		return nil // nothing of ours; it never fires
	}
	if at := w.plannedWrongly(s, now); !at.IsZero() {
		_, err := w.setAnew(ctx, s, at)
		return w.wasSetAnew(s, now, err)
	}
	if now.Sub(s.due) < w.opts.After {
		w.known.add(s.seq, s.due, s.due.Add(w.opts.After))
		return nil
	}
	l, again := w.late[s.seq]
	if again && now.Before(l.anew) {
		w.known.add(s.seq, s.due, now.Add(againAfter))
		return nil
	}
	// What does not help is done less and less often.
	l.due, l.anew = s.due, now.Add(max(againAfter, now.Sub(s.due)/2))
	w.late[s.seq] = l
	seq, err := w.setAnew(ctx, s, s.due)
	if err == nil {
		delete(w.late, s.seq)
		w.late[seq] = l // until it is seen to have fired
		w.known.add(seq, s.due, now.Add(againAfter))
	}
	return w.wasSetAnew(s, now, err)
}

// wasSetAnew takes up what came of setting a schedule anew.
func (w *Watch) wasSetAnew(s *schedule, now time.Time, err error) error {
	switch {
	case err == nil:
		w.opts.Metrics.anew.Inc()
	case errors.Is(err, errFired):
		delete(w.late, s.seq)
	default:
		w.known.add(s.seq, s.due, now.Add(againAfter))
		return fmt.Errorf("cannot set a retry anew: %w", err)
	}
	return nil
}

// plannedWrongly returns when a schedule should fire that was made by a clock
// that was ahead; the zero time for any other.
func (w *Watch) plannedWrongly(s *schedule, now time.Time) time.Time {
	back := time.Duration(0)
	if w.step != nil && w.step.By < 0 {
		back = -w.step.By
	}
	made := s.stored
	if w.opts.Clock.Ours && s.attempted.After(made) {
		made = s.attempted // stored just after the clock was set
	}
	wait := s.due.Sub(made)
	switch {
	case !s.due.After(now) || wait <= 0:
		return time.Time{}
	case made.Sub(now) > servertime.StepTolerance && back > 0 && made.Sub(now) <= back+servertime.StepTolerance:
		return s.due.Add(-back)
	case made.Sub(now) > servertime.StepTolerance:
		return now.Add(wait) // nobody knows when it was made: all of its wait, from now on
	case back > 0 && wait > back && s.stored.After(w.step.At.Add(-stepLag)) && !s.stored.After(w.step.At):
		// Made by a gateway that did not know yet. One that is to wait for so long
		// comes earlier than planned.
		return s.due.Add(-back)
	}
	return time.Time{}
}

// stepLag is for how long a gateway may go by the clock as it was before.
const stepLag = 3 * time.Second
