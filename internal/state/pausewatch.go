package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fanjet/internal/jsapi"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

const (
	pausesRetry   = 2 * time.Second // until a watch that ended is opened again
	pausesProbe   = 5 * time.Second // between looks at whether the bucket is still the same
	pausesRenewal = time.Minute     // after which a watch is opened anew, whatever it seems to be
)

// PauseWatch tells a replica which endpoints are paused. What it knows stays in
// force while the bucket cannot be read: a pause that somebody meant must not
// end because of a fault. load and run must not run at the same time.
type PauseWatch struct {
	kv       jetstream.KeyValue
	onChange func(endpoint string, p *endpoint.Pause)
	log      *zap.Logger

	// onFault, if set, hears when the pauses can no longer be read, and with nil
	// when they can be again. Set it before load.
	OnFault func(error)

	known   map[string]endpoint.Pause
	seen    map[string]uint64 // revisions of the entries that were read, by endpoint
	newest  uint64            // the highest of them
	created time.Time         // of the bucket that they were read from; zero: never read
	faulty  bool

	retry, probe, renewal time.Duration // tests shorten them
}

// NewPauseWatch returns a watch on the pauses in the state bucket. onChange
// hears of every endpoint that is paused, whose pause changes, and, with nil,
// that is resumed; one call at a time, from load and run.
func NewPauseWatch(kv jetstream.KeyValue, onChange func(endpoint string, p *endpoint.Pause), log *zap.Logger) *PauseWatch {
	return &PauseWatch{
		kv: kv, onChange: onChange, log: log, known: make(map[string]endpoint.Pause),
		retry: pausesRetry, probe: pausesProbe, renewal: pausesRenewal,
	}
}

// Load reads the pauses that are stored. Call it until it succeeds, before
// anything is delivered: a restart must not let one request out to an endpoint
// that is paused.
func (w *PauseWatch) Load(ctx context.Context) error {
	created, err := bucketCreated(ctx, w.kv)
	if err != nil {
		return err
	}
	return w.read(ctx, created)
}

// Run follows the changes until ctx ends.
func (w *PauseWatch) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			continue
		}
		w.report(err)
		select {
		case <-ctx.Done():
		case <-time.After(w.retry):
		}
	}
}

// follow opens a watch, brings what is known up to date, and follows the changes
// for the time of a renewal. It returns an error when the watch can no longer be
// relied on.
func (w *PauseWatch) follow(ctx context.Context) error {
	created, err := bucketCreated(ctx, w.kv)
	if err != nil {
		return err
	}
	updates, stop, err := watchPauses(ctx, w.kv)
	if err != nil {
		return err
	}
	defer stop()
	// Then: what changes from here on comes with the watch, be it late.
	if err := w.read(ctx, created); err != nil {
		return err
	}
	w.report(nil)
	renewal := time.NewTimer(w.renewal)
	defer renewal.Stop()
	probe := time.NewTicker(w.probe)
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-renewal.C:
			return nil
		case entry, ok := <-updates:
			if !ok {
				return errWatchEnded
			}
			w.apply(entry)
		case <-probe.C:
			// A watch may go on in silence when its bucket is gone, and one whose server
			// lags behind the others may tell of changes much too late.
			if err := w.sameBucket(ctx, w.created); err != nil {
				return err
			}
			if err := w.upToDate(ctx); err != nil {
				return err
			}
		}
	}
}

// read reconciles what is known with what the leader of the bucket has stored. An
// entry that vanished is a pause that ended, unless the whole bucket vanished: into
// a new one the pauses that are in force are written again. The bucket is the one
// that was created at a time.
func (w *PauseWatch) read(ctx context.Context, created time.Time) error {
	entries, err := pauseEntries(ctx, w.kv)
	if err != nil {
		return err
	}
	if err := w.sameBucket(ctx, created); err != nil {
		return err
	}
	stored := make(map[string]endpoint.Pause)
	w.seen, w.newest = make(map[string]uint64), 0
	for _, entry := range entries {
		w.note(entry)
		if p := pauseIn(entry); p != nil {
			stored[pausedEndpoint(entry)] = *p
		}
	}
	if !w.created.IsZero() && !w.created.Equal(created) {
		if err := w.restore(ctx, stored); err != nil {
			return err
		}
	}
	w.created = created
	for endpoint := range w.known {
		if _, ok := stored[endpoint]; !ok {
			w.set(endpoint, nil)
		}
	}
	for endpoint, p := range stored {
		w.set(endpoint, &p)
	}
	return nil
}

// note remembers the revision of an entry that was read.
func (w *PauseWatch) note(entry jetstream.KeyValueEntry) {
	w.seen[pausedEndpoint(entry)] = entry.Revision()
	w.newest = max(w.newest, entry.Revision())
}

// upToDate returns an error if there were changes that the watch did not tell yet.
func (w *PauseWatch) upToDate(ctx context.Context) error {
	newest, err := jsapi.Newest(ctx, w.kv, pausedPrefix+"*")
	if err != nil {
		return fmt.Errorf("cannot read the pauses in the state bucket: %w", err)
	}
	if newest > w.newest {
		return w.read(ctx, w.created)
	}
	return nil
}

// sameBucket returns nil if the bucket is the one that was created at a time.
func (w *PauseWatch) sameBucket(ctx context.Context, created time.Time) error {
	now, err := bucketCreated(ctx, w.kv)
	if err == nil && !now.Equal(created) {
		err = errOtherBucket
	}
	return err
}

// restore writes the pauses that are known into a bucket that took the place of
// another one, and adds them to what is stored.
func (w *PauseWatch) restore(ctx context.Context, stored map[string]endpoint.Pause) error {
	for endpoint, p := range w.known {
		if _, ok := stored[endpoint]; ok {
			continue
		}
		was, err := SetPause(ctx, w.kv, endpoint, p)
		if err != nil {
			return err
		}
		if was != nil { // another replica was faster
			p = *was
		}
		stored[endpoint] = p
		w.log.Warn("the state bucket was created again; the pause is stored anew", zap.String("endpoint", endpoint))
	}
	return nil
}

// apply takes one change that the watch told. A change that is not newer than what
// is known came late; nil is the end of what was stored before the watch.
func (w *PauseWatch) apply(entry jetstream.KeyValueEntry) {
	if entry == nil || entry.Revision() <= w.seen[pausedEndpoint(entry)] {
		return
	}
	w.note(entry)
	w.set(pausedEndpoint(entry), pauseIn(entry))
}

// set tells of a change; nil means resumed.
func (w *PauseWatch) set(endpoint string, p *endpoint.Pause) {
	before, paused := w.known[endpoint]
	switch {
	case p == nil && !paused, p != nil && paused && p.Equal(before):
		return
	case p == nil:
		delete(w.known, endpoint)
	default:
		w.known[endpoint] = *p
	}
	w.onChange(endpoint, p)
}

// report tells of the beginning and the end of a fault.
func (w *PauseWatch) report(err error) {
	switch {
	case err != nil && !w.faulty:
		w.log.Warn("cannot watch the pauses; those that are known stay in force", zap.Int("paused", len(w.known)), zap.Error(err))
	case err == nil && w.faulty:
		w.log.Info("the pauses are watched again", zap.Int("paused", len(w.known)))
	default:
		return
	}
	w.faulty = err != nil
	if w.OnFault != nil {
		w.OnFault(err)
	}
}

var errOtherBucket = errors.New("the state bucket was created again")

// bucketCreated returns when the bucket was created, which tells one from the
// next of the same name.
func bucketCreated(ctx context.Context, kv jetstream.KeyValue) (time.Time, error) {
	status, err := kv.Status(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot read the state bucket %s: %w", kv.Bucket(), err)
	}
	bucket, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return time.Time{}, fmt.Errorf("the state bucket %s is not kept by JetStream", kv.Bucket())
	}
	return bucket.StreamInfo().Created, nil
}
