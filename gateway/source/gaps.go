package source

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"fanjet/internal/intake"
)

// gaps notices events that left a source stream before a matcher saw them:
// max_age overtook it, or somebody purged or deleted them.
//
// The consumer numbers its deliveries. If the numbers of two deliveries follow
// each other, the sequences of their events must, too, unless the later one is
// sent again; what is between them was never handed to anybody. The place where
// a matcher begins is in the cursor.
//
// It is used by one goroutine, but for forget and vouched.
type gaps struct {
	at     place
	known  bool
	unseen uint64 // deliveries to others since the latest event that was new
	// cursor reads the cursor anew and returns where it stands.
	cursor func(ctx context.Context) (*progress, error)
	// first returns the first sequence that the stream has.
	first func(ctx context.Context) (uint64, error)
	// report hears of a gap: the range of sequences in which events are missing,
	// and how many. When it is not exact, that is the most that it can be.
	report func(after, before, missed uint64, exact bool)
	// moved hears of a gap before an event with which the consumer counts anew. It
	// reports whether events are still there that it passed over: then somebody
	// moved the consumer, and it goes back. nil: that is never so.
	moved func(ctx context.Context, after, before uint64) bool

	returning uint64        // the event before which it was moved, until it is back; 0: it was not
	returned  time.Time     // when it went back
	vouched   atomic.Uint64 // up to this event none was passed over that is still there

	forget chan struct{} // holds one when the sequences of the stream went back
}

// place is where the deliveries of a consumer stand.
type place struct {
	created  time.Time // of the stream
	delivery uint64    // number of the latest
	sequence uint64    // highest of an event that was handed out
}

// returnTime is how long a consumer that went back may take to send the first of
// what it passed over.
const returnTime = 10 * time.Second

// look compares an event, in order of receipt, with those before it. It reports
// whether the event came too early, because somebody had moved the consumer: that
// goes back, and sends it again.
func (g *gaps) look(ctx context.Context, created time.Time, msg *intake.Message) (early bool) {
	if g.returning > 0 && g.at.created.Equal(created) {
		switch {
		case msg.Delivery == 1 || msg.Sequence < g.returning:
		case time.Since(g.returned) < returnTime:
			return true // it was sent before the consumer went back
		default: // all that it went back for has left the stream meanwhile
			g.at.sequence = max(g.at.sequence, msg.Sequence-1)
		}
		g.returning, g.at.delivery = 0, 0
	}
	select {
	case <-g.forget:
		g.known, g.returning = false, 0
	default:
		if !g.at.created.Equal(created) {
			g.known, g.returning = false, 0
			g.catchUp(ctx, created, msg)
		} else if g.known && msg.Delivery > g.at.delivery+1 {
			g.catchUp(ctx, created, msg) // others had what is between
		}
	}
	fresh := msg.Deliveries == 1
	defer func() { g.vouched.Store(g.at.sequence) }()
	if !g.known {
		// One that is sent again says nothing about what others had since.
		g.at, g.known, g.unseen = place{created: created}, fresh, 0
		if msg.Delivery == 1 && msg.Sequence > 1 && g.goesBack(ctx, msg) {
			g.known = false
			return true
		}
	} else {
		before := g.at.delivery
		anew := msg.Delivery <= before || msg.Delivery == 1
		if anew {
			before = 0 // the consumer was made anew, and counts from the beginning
		}
		g.unseen += msg.Delivery - before - 1
		if fresh && msg.Sequence > g.at.sequence+1 {
			if anew && g.goesBack(ctx, msg) {
				return true
			}
			g.measure(ctx, msg)
		}
	}
	if fresh {
		g.unseen = 0
	}
	g.at.delivery, g.at.sequence = msg.Delivery, max(g.at.sequence, msg.Sequence)
	return false
}

// goesBack reports whether the consumer was moved to an event, and goes back.
func (g *gaps) goesBack(ctx context.Context, msg *intake.Message) bool {
	if g.moved == nil || !g.moved(ctx, g.at.sequence, msg.Sequence) {
		return false
	}
	g.returning, g.returned, g.unseen = msg.Sequence, time.Now(), 0
	return true
}

// catchUp goes on from the cursor, if that is further.
func (g *gaps) catchUp(ctx context.Context, created time.Time, msg *intake.Message) {
	at, err := g.cursor(ctx)
	if err != nil || at == nil || !at.Created.Equal(created) || at.Delivery == 0 {
		return
	}
	if !g.known || at.Delivery > g.at.delivery && at.Delivery < msg.Delivery && at.Sequence >= g.at.sequence {
		g.at = place{created: created, delivery: at.Delivery, sequence: at.Sequence}
		g.known, g.unseen = true, 0
	}
}

// measure reports what is missing before an event that was not sent before.
func (g *gaps) measure(ctx context.Context, msg *intake.Message) {
	between := msg.Sequence - g.at.sequence - 1
	missed := between - min(between, g.unseen)
	if g.unseen > 0 {
		// A matcher that died may have taken events with it that have left the
		// stream since.
		if first, err := g.first(ctx); err == nil && first > g.at.sequence+1 {
			missed = max(missed, min(first, msg.Sequence)-g.at.sequence-1)
		}
	}
	if missed > 0 {
		g.report(g.at.sequence, msg.Sequence, missed, g.unseen == 0)
	}
}

// newGaps watches the source of a matcher.
func (m *Matcher) newGaps() *gaps {
	return &gaps{
		forget: make(chan struct{}, 1),
		cursor: func(ctx context.Context) (*progress, error) {
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			err := m.cursor.load(ctx)
			return m.cursor.at.Load(), err
		},
		first: func(ctx context.Context) (uint64, error) {
			stream, err := m.opts.JetStream.Stream(ctx, m.stream)
			if err != nil {
				return 0, err
			}
			return stream.CachedInfo().State.FirstSeq, nil
		},
		moved: m.wasMoved,
		report: func(after, before, missed uint64, exact bool) {
			m.counts.missed.Add(float64(missed))
			m.opts.Metrics.missedOfAll.Add(missed)
			m.sampled.Error("events left the stream before they were fanned out", zap.Uint64("missed", missed), zap.Bool("exact", exact),
				zap.Uint64("after", after), zap.Uint64("before", before))
		},
	}
}

// sequencesWentBack makes it begin anew with the next event.
func (g *gaps) sequencesWentBack() {
	select {
	case g.forget <- struct{}{}:
	default:
	}
}
