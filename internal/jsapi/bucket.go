package jsapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// bucket is a key-value bucket whose reads are answered by the leader of its
// stream. Those of nats.go are direct gets, which any replica answers: one that
// lags does not know what was written a moment ago, be it by the same client.
type bucket struct {
	jetstream.KeyValue
	api            API
	stream, prefix string // the stream below it, and what its subjects begin with
}

// OpenBucket opens a key-value bucket. Get, Create and [Entries] go by the latest
// state, also where a bucket has replicas; a watch does so a moment later, as its
// server learns of a change.
func OpenBucket(ctx context.Context, js jetstream.JetStream, name string) (jetstream.KeyValue, error) {
	kv, err := js.KeyValue(ctx, name)
	if err != nil {
		return nil, err
	}
	return &bucket{KeyValue: kv, api: Of(js), stream: "KV_" + name, prefix: "$KV." + name + "."}, nil
}

// Get returns the latest value of a key, or [jetstream.ErrKeyNotFound].
func (b *bucket) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	e, err := b.latest(ctx, key)
	if err != nil {
		return nil, err
	}
	if e == nil || e.operation != jetstream.KeyValuePut {
		return nil, jetstream.ErrKeyNotFound
	}
	return e, nil
}

// Create stores the value of a key that has none. The error satisfies
// [IsConflict] if it has.
func (b *bucket) Create(ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt) (revision uint64, err error) {
	if len(opts) > 0 {
		return b.KeyValue.Create(ctx, key, value, opts...)
	}
	before, err := b.latest(ctx, key)
	switch {
	case err != nil:
		return 0, err
	case before == nil:
		return b.Update(ctx, key, value, 0)
	case before.operation == jetstream.KeyValuePut:
		return 0, jetstream.ErrKeyExists
	}
	return b.Update(ctx, key, value, before.revision) // in the place of the mark that it was deleted
}

// latest returns what is stored for a key, which may be a mark that it was
// deleted; nil: nothing.
func (b *bucket) latest(ctx context.Context, key string) (*entry, error) {
	if key == "" || strings.ContainsAny(key, " *>") {
		return nil, jetstream.ErrInvalidKey
	}
	m, err := b.api.Last(ctx, b.stream, b.prefix+key)
	switch {
	case errors.Is(err, ErrNoMessage):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return b.entryOf(m)
}

// entryOf reads a stored message.
func (b *bucket) entryOf(m *Message) (*entry, error) {
	header, err := m.Header()
	if err != nil {
		return nil, fmt.Errorf("the headers of revision %d of the bucket %s are unreadable: %w", m.Sequence, b.Bucket(), err)
	}
	e := &entry{bucket: b.Bucket(), key: strings.TrimPrefix(m.Subject, b.prefix), value: m.Data, revision: m.Sequence, created: m.Time}
	switch operation, reason := header.Get("KV-Operation"), header.Get(jetstream.MarkerReasonHeader); {
	case operation == "DEL", operation == "" && reason == "Remove":
		e.operation = jetstream.KeyValueDelete
	case operation == "PURGE", operation == "" && reason != "":
		e.operation = jetstream.KeyValuePurge
	}
	return e, nil
}

// errNotOpened means that a bucket is one whose reads any replica answers.
var errNotOpened = errors.New("the bucket was not opened by jsapi.OpenBucket")

// readers is how many entries are asked for at once.
const readers = 16

// Entries returns the latest entries of a bucket of [OpenBucket] on some keys, in
// any order, marks of deleted ones among them. keys may have wildcards, as in
// "paused.*".
func Entries(ctx context.Context, kv jetstream.KeyValue, keys string) ([]jetstream.KeyValueEntry, error) {
	b, ok := kv.(*bucket)
	if !ok {
		return nil, errNotOpened
	}
	subjects, err := b.api.Subjects(ctx, b.stream, b.prefix+keys)
	if err != nil {
		return nil, err
	}
	found := make([]*entry, len(subjects))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, subject := range subjects {
		group.Go(func() (err error) {
			found[i], err = b.latest(ctx, strings.TrimPrefix(subject, b.prefix))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var entries []jetstream.KeyValueEntry
	for _, e := range slices.DeleteFunc(found, func(e *entry) bool { return e == nil }) {
		entries = append(entries, e)
	}
	return entries, nil
}

// Newest returns the revision of the latest change of any of the keys; 0: there
// was none. Otherwise it is as [Entries].
func Newest(ctx context.Context, kv jetstream.KeyValue, keys string) (revision uint64, err error) {
	b, ok := kv.(*bucket)
	if !ok {
		return 0, errNotOpened
	}
	m, err := b.api.Last(ctx, b.stream, b.prefix+keys)
	switch {
	case errors.Is(err, ErrNoMessage):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return m.Sequence, nil
}

// entry implements [jetstream.KeyValueEntry].
type entry struct {
	bucket, key string
	value       []byte
	revision    uint64
	created     time.Time
	operation   jetstream.KeyValueOp
}

func (e *entry) Bucket() string                  { return e.bucket }
func (e *entry) Key() string                     { return e.key }
func (e *entry) Value() []byte                   { return e.value }
func (e *entry) Revision() uint64                { return e.revision }
func (e *entry) Created() time.Time              { return e.created }
func (e *entry) Delta() uint64                   { return 0 } // it is the latest
func (e *entry) Operation() jetstream.KeyValueOp { return e.operation }
