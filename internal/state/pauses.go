package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"fanjet/internal/jsapi"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go/jetstream"
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
func SetPause(ctx context.Context, kv jetstream.KeyValue, endpoint string, p endpoint.Pause) (was *endpoint.Pause, err error) {
	err = jsapi.Change(ctx, kv, pausedPrefix+endpoint, func(before jetstream.KeyValueEntry) (jsapi.Decision, []byte, error) {
		next := p
		if was = pauseIn(before); was != nil {
			if p.Blocked == "" || p.Blocked == was.Blocked {
				return jsapi.Leave, nil, nil
			}
			next = *was
			next.Blocked = p.Blocked
		}
		value, err := json.Marshal(next)
		return jsapi.Write, value, err
	})
	if err != nil {
		return nil, err
	}
	return was, nil
}

// ClearPause ends the pause of an endpoint, and returns the one that ended; nil
// if the endpoint was not paused.
func ClearPause(ctx context.Context, kv jetstream.KeyValue, endpoint string) (was *endpoint.Pause, err error) {
	err = jsapi.Change(ctx, kv, pausedPrefix+endpoint, func(before jetstream.KeyValueEntry) (jsapi.Decision, []byte, error) {
		was = pauseIn(before)
		return jsapi.Delete, nil, nil
	})
	if err != nil {
		return nil, err
	}
	return was, nil
}

// Pauses returns every pause in the state bucket, by endpoint; also those of
// endpoints that are not in the configuration. The bucket must be one of
// [jsapi.OpenBucket].
func Pauses(ctx context.Context, kv jetstream.KeyValue) (map[string]endpoint.Pause, error) {
	entries, err := pauseEntries(ctx, kv)
	if err != nil {
		return nil, err
	}
	pauses := make(map[string]endpoint.Pause)
	for _, entry := range entries {
		if p := pauseIn(entry); p != nil {
			pauses[pausedEndpoint(entry)] = *p
		}
	}
	return pauses, nil
}

// pauseEntries reads all that is stored about pauses, as the leader of the bucket
// knows it: also that they have ended.
func pauseEntries(ctx context.Context, kv jetstream.KeyValue) ([]jetstream.KeyValueEntry, error) {
	entries, err := jsapi.Entries(ctx, kv, pausedPrefix+"*")
	if err != nil {
		return nil, fmt.Errorf("cannot read the pauses in the state bucket: %w", err)
	}
	return entries, nil
}

// PauseOf reads the pause of one endpoint; nil if there is none.
func PauseOf(ctx context.Context, kv jetstream.KeyValue, endpoint string) (*endpoint.Pause, error) {
	entry, err := kv.Get(ctx, pausedPrefix+endpoint)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("cannot read state %s%s: %w", pausedPrefix, endpoint, err)
	}
	return pauseIn(entry), nil
}

// pauseIn is the pause that an entry holds; nil if it holds none, or there is no
// entry.
func pauseIn(entry jetstream.KeyValueEntry) *endpoint.Pause {
	if entry == nil || entry.Operation() != jetstream.KeyValuePut {
		return nil
	}
	p := readPause(entry)
	return &p
}

// readPause reads an entry. One that cannot be read is a pause nevertheless: to
// hold deliveries is the lesser evil.
func readPause(entry jetstream.KeyValueEntry) endpoint.Pause {
	var p endpoint.Pause
	if err := json.Unmarshal(entry.Value(), &p); err != nil {
		return endpoint.Pause{Since: entry.Created(), Reason: "the entry " + entry.Key() + " in the state bucket is unreadable"}
	}
	return p
}

var errWatchEnded = errors.New("the watch ended")

// watchPauses returns the changes of pauses from now on, and what was stored
// before. It may lag behind what the leader of the bucket knows. Call stop after
// use.
func watchPauses(ctx context.Context, kv jetstream.KeyValue) (updates <-chan jetstream.KeyValueEntry, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx) // the client waits for its end, whatever became of the watch
	watcher, err := kv.Watch(ctx, pausedPrefix+"*")
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("cannot watch the pauses in the state bucket: %w", err)
	}
	return watcher.Updates(), func() {
		cancel()
		stopWatcher(watcher)
	}, nil
}

// stopWatcher ends a watch and waits for it. Values that it still delivers must
// be taken, or its goroutine would stand at a full channel for ever.
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
