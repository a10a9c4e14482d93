package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fanjet/internal/servertime"
)

// judge decides about a schedule that is there.
func (o *overdue) judge(ctx context.Context, s *schedule, now time.Time) error {
	if s.due.IsZero() {
		return nil // nothing of ours; it never fires
	}
	if at := o.plannedWrongly(s, now); !at.IsZero() {
		_, err := o.setAnew(ctx, s, at)
		return o.wasSetAnew(s, now, err)
	}
	if now.Sub(s.due) < o.after {
		o.known.add(s.seq, s.due, s.due.Add(o.after))
		return nil
	}
	l, again := o.late[s.seq]
	if again && now.Before(l.anew) {
		o.known.add(s.seq, s.due, now.Add(againAfter))
		return nil
	}
	// What does not help is done less and less often.
	l.due, l.anew = s.due, now.Add(max(againAfter, now.Sub(s.due)/2))
	o.late[s.seq] = l
	seq, err := o.setAnew(ctx, s, s.due)
	if err == nil {
		delete(o.late, s.seq)
		o.late[seq] = l // until it is seen to have fired
		o.known.add(seq, s.due, now.Add(againAfter))
	}
	return o.wasSetAnew(s, now, err)
}

// wasSetAnew takes up what came of setting a schedule anew.
func (o *overdue) wasSetAnew(s *schedule, now time.Time, err error) error {
	switch {
	case err == nil:
		o.seen.anew.Inc()
	case errors.Is(err, errFired):
		delete(o.late, s.seq)
	default:
		o.known.add(s.seq, s.due, now.Add(againAfter))
		return fmt.Errorf("cannot set a retry anew: %w", err)
	}
	return nil
}

// plannedWrongly returns when a schedule should fire that was made by a clock
// that was ahead; the zero time for any other.
func (o *overdue) plannedWrongly(s *schedule, now time.Time) time.Time {
	back := time.Duration(0)
	if o.step != nil && o.step.By < 0 {
		back = -o.step.By
	}
	made := s.stored
	if o.clock.Ours && s.attempted.After(made) {
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
	case back > 0 && wait > back && s.stored.After(o.step.At.Add(-stepLag)) && !s.stored.After(o.step.At):
		// Made by a gateway that did not know yet. One that is to wait for so long
		// comes earlier than planned.
		return s.due.Add(-back)
	}
	return time.Time{}
}

// stepLag is for how long a gateway may go by the clock as it was before.
const stepLag = 3 * time.Second
