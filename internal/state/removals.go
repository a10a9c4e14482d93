package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/internal/jsapi"
)

// Removals remembers in the state bucket since when an endpoint is missing from
// the configuration. A replica that meets a delivery to an unknown endpoint
// writes the entry; one that knows the endpoint deletes it. So replicas may run
// different configurations for a while, and a restart starts no clock anew.
//
// All times are the server's: the clocks of two replicas may differ by more than
// the grace time.
type Removals struct {
	state   jetstream.KeyValue
	now     func() time.Time // by the server's clock
	known   func(endpoint string) bool
	changed chan struct{} // has room for one: other endpoints may be known now
	log     *zap.Logger
}

const removedPrefix = "removed."

// Absence is since when an endpoint is missing, as far as it was read. The zero
// value: it is not known.
type Absence struct {
	Since time.Time
	Read  time.Time // when the entry was looked at
}

// rereads is how often the entry is read during the grace time. A replica that
// knows the endpoint deletes it at any time; then it is made anew, and the grace
// time begins again.
const rereads = 20

// Stale reports whether the entry must be read: for the first time, again, or
// once more after the end of the grace time, before anything follows from it.
func (a Absence) Stale(now time.Time, grace time.Duration) bool {
	return a.Since.IsZero() || now.Sub(a.Read) >= grace/rereads || a.Over(now, grace) && !a.Confirmed(grace)
}

// Over reports whether the grace time has ended.
func (a Absence) Over(now time.Time, grace time.Duration) bool {
	return !a.Since.IsZero() && !a.Since.Add(grace).After(now)
}

// Confirmed reports whether the entry was still there after the grace time.
func (a Absence) Confirmed(grace time.Duration) bool { return !a.Read.Before(a.Since.Add(grace)) }

// NewRemovals returns what remembers removed endpoints in the state bucket. now is the
// server's time, known says which endpoints this replica has.
func NewRemovals(state jetstream.KeyValue, now func() time.Time, known func(endpoint string) bool, log *zap.Logger) *Removals {
	return &Removals{state: state, now: now, known: known, changed: make(chan struct{}, 1), log: log}
}

// Since returns when the endpoint was first missed: now, unless an entry exists.
// It goes by when the server stored the entry. What is written in it is for
// people: replicas of earlier versions write the time of their own clocks.
func (r *Removals) Since(ctx context.Context, endpoint string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	key, since := removedPrefix+endpoint, r.now()
	made := false
	err := jsapi.Change(ctx, r.state, key, func(before jetstream.KeyValueEntry) (jsapi.Decision, []byte, error) {
		if made = before == nil; made {
			return jsapi.Write, []byte(since.UTC().Format(time.RFC3339Nano)), nil
		}
		since = before.Created()
		return jsapi.Leave, nil, nil
	})
	if err == nil && made {
		r.log.Warn("deliveries wait for an endpoint that is not in the configuration", zap.String("endpoint", endpoint))
	}
	return since, err
}

// Removed is a removed endpoint that deliveries wait for.
type Removed struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"` // when they become dead letters, as soon as a gateway runs
}

// RemovedEndpoints returns the endpoints that deliveries wait for, or did, and that
// are in the configuration of no gateway, as far as one met such a delivery. The
// bucket must be one of [jsapi.OpenBucket].
func RemovedEndpoints(ctx context.Context, kv jetstream.KeyValue) (map[string]Removed, error) {
	entries, err := jsapi.Entries(ctx, kv, removedPrefix+"*")
	if err != nil {
		return nil, fmt.Errorf("cannot read the removed endpoints in the state bucket: %w", err)
	}
	removed := make(map[string]Removed)
	for _, entry := range entries {
		if entry != nil && entry.Operation() == jetstream.KeyValuePut {
			since := entry.Created().UTC()
			removed[strings.TrimPrefix(entry.Key(), removedPrefix)] = Removed{since, since.Add(RemovalGrace)}
		}
	}
	return removed, nil
}

// RemovalGrace is how long the deliveries of a removed endpoint wait.
const RemovalGrace = 10 * time.Minute

// Look has the entries looked through again: other endpoints are known now.
func (r *Removals) Look() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Run deletes the entries of endpoints that are known here, until ctx ends.
func (r *Removals) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.watch(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		r.log.Warn("cannot watch for removed endpoints; trying again", zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
}

// watch looks through the entries and follows their changes, until ctx ends or
// other endpoints are known.
func (r *Removals) watch(ctx context.Context) error {
	watcher, err := r.state.Watch(ctx, removedPrefix+">", jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.changed:
			return nil
		case entry, ok := <-watcher.Updates():
			if !ok {
				return errors.New("watch ended")
			}
			if entry == nil {
				continue // end of what was there before
			}
			if r.known(strings.TrimPrefix(entry.Key(), removedPrefix)) {
				if err := r.state.Delete(ctx, entry.Key()); err != nil {
					return err
				}
			}
		}
	}
}
