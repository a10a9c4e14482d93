package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const headPrefix = "head." // + endpoint: its Head

// Head is what is known about the first delivery of an ordered endpoint's line.
type Head struct {
	Delivery string    `json:"delivery"` // its key and generation
	Attempt  int       `json:"attempt"`  // number of the next attempt, from 1
	Next     time.Time `json:"next"`     // not before, by the server's clock
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Status   int       `json:"status,omitempty"`
	Error    string    `json:"error,omitempty"`
	// Stands says that its attempts are used up and that the line stands until an
	// operator acts.
	Stands   bool `json:"stands,omitempty"`
	Attempts int  `json:"attempts,omitempty"` // made until then
}

// Failure says how the latest attempt failed. Older versions stored no error when
// there was an answer.
func (h Head) Failure() string {
	if h.Error != "" {
		return h.Error
	}
	return "status " + strconv.Itoa(h.Status)
}

// HeadOf returns what is known about the first delivery of an ordered endpoint's
// line, and when the server stored it; the zero value if nothing is, or it cannot be
// read.
func HeadOf(ctx context.Context, kv jetstream.KeyValue, endpoint string) (h Head, stored time.Time, err error) {
	entry, err := kv.Get(ctx, headPrefix+endpoint)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return Head{}, time.Time{}, nil
	case err != nil:
		return Head{}, time.Time{}, fmt.Errorf("cannot read state %s%s: %w", headPrefix, endpoint, err)
	}
	if json.Unmarshal(entry.Value(), &h) != nil {
		return Head{}, time.Time{}, nil
	}
	return h, entry.Created(), nil
}

// StoreHead stores it.
func StoreHead(ctx context.Context, kv jetstream.KeyValue, endpoint string, h Head) error {
	value, err := json.Marshal(h)
	if err == nil {
		_, err = kv.Put(ctx, headPrefix+endpoint, value)
	}
	if err != nil {
		return fmt.Errorf("cannot write state %s%s: %w", headPrefix, endpoint, err)
	}
	return nil
}
