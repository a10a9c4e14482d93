package subscriber

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/jsapi"
)

// Keys of the state bucket.
const (
	pausedPrefix  = "paused."  // + endpoint: its Pause
	resumedPrefix = "resumed." // + endpoint: its latest Resume
	skipPrefix    = "skip."    // + endpoint: the key of a delivery that an operator gave up
)

// SetPause stores the pause of an endpoint in the state bucket. A pause that is
// there already is kept, and returned; it only learns at which delivery the line
// stands, if p says so. The endpoint need not be in the configuration.
func SetPause(ctx context.Context, kv jetstream.KeyValue, endpoint string, p Pause) (was *Pause, err error) {
	key := pausedPrefix + endpoint
	for {
		before, revision, err := storedPause(ctx, kv, endpoint)
		if err != nil {
			return nil, err
		}
		next := p
		if before != nil {
			if p.Blocked == "" || p.Blocked == before.Blocked {
				return before, nil
			}
			next = *before
			next.Blocked = p.Blocked
		}
		value, err := json.Marshal(next)
		if err != nil {
			return nil, fmt.Errorf("cannot write the pause of endpoint %s: %w", endpoint, err)
		}
		if before == nil {
			_, err = kv.Create(ctx, key, value)
		} else {
			_, err = kv.Update(ctx, key, value, revision)
		}
		switch {
		case err == nil:
			return before, nil
		case !jsapi.IsConflict(err):
			return nil, fmt.Errorf("cannot write state %s: %w", key, err)
		}
	}
}

// ClearPause ends the pause of an endpoint, and returns the one that ended; nil
// if the endpoint was not paused.
func ClearPause(ctx context.Context, kv jetstream.KeyValue, endpoint string) (was *Pause, err error) {
	key := pausedPrefix + endpoint
	for {
		before, revision, err := storedPause(ctx, kv, endpoint)
		if err != nil || before == nil {
			return nil, err
		}
		err = kv.Delete(ctx, key, jetstream.LastRevision(revision))
		switch {
		case err == nil:
			return before, nil
		case !jsapi.IsConflict(err):
			return nil, fmt.Errorf("cannot delete state %s: %w", key, err)
		}
	}
}

// Pauses returns every pause in the state bucket, by endpoint; also those of
// endpoints that are not in the configuration.
func Pauses(ctx context.Context, kv jetstream.KeyValue) (map[string]Pause, error) {
	pauses, _, stop, err := watchPauses(ctx, kv)
	if err != nil {
		return nil, err
	}
	stop()
	return pauses, nil
}

// storedPause reads the pause of one endpoint; nil if there is none.
func storedPause(ctx context.Context, kv jetstream.KeyValue, endpoint string) (p *Pause, revision uint64, err error) {
	entry, err := kv.Get(ctx, pausedPrefix+endpoint)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return nil, 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("cannot read state %s%s: %w", pausedPrefix, endpoint, err)
	}
	stored := readPause(entry)
	return &stored, entry.Revision(), nil
}

// readPause reads an entry. One that cannot be read is a pause nevertheless: to
// hold deliveries is the lesser evil.
func readPause(entry jetstream.KeyValueEntry) Pause {
	var p Pause
	if err := json.Unmarshal(entry.Value(), &p); err != nil {
		return Pause{Since: entry.Created(), Reason: "the entry " + entry.Key() + " in the state bucket is unreadable"}
	}
	return p
}

// equal reports whether two pauses say the same.
func (p Pause) equal(q Pause) bool {
	return p.Since.Equal(q.Since) && p.By == q.By && p.Reason == q.Reason && p.Blocked == q.Blocked
}

// pausesTimeout bounds how long the entries of the bucket may take to arrive.
const pausesTimeout = 10 * time.Second

var errWatchEnded = errors.New("the watch ended")

// watchPauses returns the pauses that are stored, and the changes that follow.
// Call stop after use.
func watchPauses(ctx context.Context, kv jetstream.KeyValue) (stored map[string]Pause, updates <-chan jetstream.KeyValueEntry, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx) // the client waits for its end, whatever became of the watch
	watcher, err := kv.Watch(ctx, pausedPrefix+"*")
	if err != nil {
		cancel()
		return nil, nil, nil, fmt.Errorf("cannot read the pauses in the state bucket: %w", err)
	}
	stop = func() {
		cancel()
		stopWatcher(watcher)
	}
	stored = make(map[string]Pause)
	timeout := time.NewTimer(pausesTimeout)
	defer timeout.Stop()
	for {
		select {
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				err = errWatchEnded
			case entry == nil: // the end of what was there before
				return stored, watcher.Updates(), stop, nil
			case entry.Operation() == jetstream.KeyValuePut:
				stored[pausedEndpoint(entry)] = readPause(entry)
			default:
				delete(stored, pausedEndpoint(entry))
			}
		case <-timeout.C:
			err = fmt.Errorf("no answer within %v", pausesTimeout)
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			stop()
			return nil, nil, nil, fmt.Errorf("cannot read the pauses in the state bucket: %w", err)
		}
	}
}

// stopWatcher ends a watch and waits for it. What it still delivers must be
// taken, or its goroutine would stand at a full channel for ever.
func stopWatcher(watcher jetstream.KeyWatcher) {
	_ = watcher.Stop() // fails when it has ended already, or on a closed connection
	timeout := time.NewTimer(time.Second)
	defer timeout.Stop()
	for {
		select {
		case _, ok := <-watcher.Updates():
			if !ok {
				return
			}
		case <-timeout.C:
			return
		}
	}
}

// pausedEndpoint is the endpoint that an entry is about.
func pausedEndpoint(entry jetstream.KeyValueEntry) string {
	return strings.TrimPrefix(entry.Key(), pausedPrefix)
}
