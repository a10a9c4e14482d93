package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fanjet/internal/jsapi"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go/jetstream"
)

// Resume says how the latest pause of an endpoint ended. It is stored as JSON in
// the state bucket, for operators; nothing depends on it.
type Resume struct {
	At      time.Time      `json:"at"`
	By      string         `json:"by"`
	Pause   endpoint.Pause `json:"pause"`             // that ended
	Skipped string         `json:"skipped,omitempty"` // key of the delivery that was given up with it
}

// RecordResume stores who ended a pause, after [ClearPause].
func RecordResume(ctx context.Context, kv jetstream.KeyValue, endpoint string, r Resume) error {
	value, err := json.Marshal(r)
	if err == nil {
		_, err = kv.Put(ctx, resumedPrefix+endpoint, value)
	}
	if err != nil {
		return fmt.Errorf("cannot write state %s%s: %w", resumedPrefix, endpoint, err)
	}
	return nil
}

// LastResume returns how the latest pause of an endpoint ended; nil if none ever
// did.
func LastResume(ctx context.Context, kv jetstream.KeyValue, endpoint string) (*Resume, error) {
	entry, err := kv.Get(ctx, resumedPrefix+endpoint)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	var r Resume
	if err == nil {
		err = json.Unmarshal(entry.Value(), &r)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read state %s%s: %w", resumedPrefix, endpoint, err)
	}
	return &r, nil
}

// SkipFirst lets the gateway dead-letter the delivery at which the line of an
// ordered endpoint stands. It takes the key that the endpoint's pause names;
// resume the endpoint afterwards.
func SkipFirst(ctx context.Context, kv jetstream.KeyValue, endpoint, delivery string) error {
	if _, err := kv.Put(ctx, skipPrefix+endpoint, []byte(delivery)); err != nil {
		return fmt.Errorf("cannot write state %s%s: %w", skipPrefix, endpoint, err)
	}
	return nil
}

// Skipped returns the key of the delivery of an endpoint that an operator gave
// up; empty if there is none. It may be one that is long gone.
func Skipped(ctx context.Context, kv jetstream.KeyValue, endpoint string) (delivery string, err error) {
	entry, err := kv.Get(ctx, skipPrefix+endpoint)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("cannot read state %s%s: %w", skipPrefix, endpoint, err)
	}
	return string(entry.Value()), nil
}

// ForgetSkipped removes what SkipFirst stored, once that delivery is
// dead-lettered. A note that an operator made about another one meanwhile
// stays.
func ForgetSkipped(ctx context.Context, kv jetstream.KeyValue, endpoint, delivery string) error {
	return jsapi.Change(ctx, kv, skipPrefix+endpoint, func(before jetstream.KeyValueEntry) (jsapi.Decision, []byte, error) {
		if before == nil || string(before.Value()) != delivery {
			return jsapi.Leave, nil, nil
		}
		return jsapi.Delete, nil, nil
	})
}
