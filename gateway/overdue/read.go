package overdue

import (
	"context"
	"errors"
	"time"

	"fanjet/internal/jsapi"
	"fanjet/internal/servertime"
)

// budget is what is left of what a look may cost.
type budget struct {
	reads int
	until time.Time
}

func (b *budget) spend() (ok bool) {
	b.reads--
	return b.reads >= 0 && time.Now().Before(b.until)
}

// check looks at the schedules that should have fired by now.
func (w *Watch) check(ctx context.Context, now time.Time, b *budget) error {
	due := w.known.take(now, b.reads)
	for i := 0; i < len(due); {
		if !b.spend() {
			w.postpone(due[i:], now)
			return nil
		}
		found, err := w.schedule(ctx, due[i].seq)
		if err != nil && !errors.Is(err, jsapi.ErrNoMessage) {
			w.postpone(due[i:], now)
			return err
		}
		// Those before the one that was found have fired.
		for ; i < len(due) && (found == nil || due[i].seq < found.seq); i++ {
			delete(w.late, due[i].seq)
		}
		if i < len(due) && due[i].seq == found.seq {
			if err := w.judge(ctx, found, now); err != nil {
				w.postpone(due[i+1:], now)
				return err
			}
			i++
		}
	}
	return nil
}

// postpone puts schedules back that were not looked at.
func (w *Watch) postpone(due []planned, now time.Time) {
	for _, p := range due {
		w.known.add(p.seq, time.Unix(0, p.due), now)
	}
}

// read reads schedules that were not read yet, but for the newest: most are gone
// before they are that old.
func (w *Watch) read(ctx context.Context, now time.Time, last uint64, b *budget) error {
	for w.next <= last {
		if !b.spend() {
			return nil
		}
		found, err := w.schedule(ctx, w.next)
		if errors.Is(err, jsapi.ErrNoMessage) {
			w.next = last + 1
			return nil
		}
		if err != nil {
			return err
		}
		if age := now.Sub(found.stored); age < w.opts.After && age > -servertime.StepTolerance {
			return nil // neither this one nor what is behind it
		}
		w.next = found.seq + 1
		if err := w.judge(ctx, found, now); err != nil {
			return err // it is known now, and looked at again
		}
	}
	return nil
}
