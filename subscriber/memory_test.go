package subscriber

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// memory is a state bucket.
type memory struct {
	jetstream.KeyValue

	mu     sync.Mutex
	values map[string]entry
	fails  error
	gets   int
}

type entry struct {
	jetstream.KeyValueEntry
	value    []byte
	revision uint64
	created  time.Time
}

func (e entry) Value() []byte                   { return e.value }
func (e entry) Revision() uint64                { return e.revision }
func (e entry) Created() time.Time              { return e.created }
func (e entry) Operation() jetstream.KeyValueOp { return jetstream.KeyValuePut }

func newMemory() *memory { return &memory{values: make(map[string]entry)} }

func (m *memory) Get(_ context.Context, key string) (jetstream.KeyValueEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets++
	e, ok := m.values[key]
	switch {
	case m.fails != nil:
		return nil, m.fails
	case !ok:
		return nil, jetstream.ErrKeyNotFound
	}
	return e, nil
}

func (m *memory) Put(_ context.Context, key string, value []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return 0, m.fails
	}
	e := entry{value: value, revision: m.values[key].revision + 1, created: time.Now()}
	m.values[key] = e
	return e.revision, nil
}

func (m *memory) Create(ctx context.Context, key string, value []byte, _ ...jetstream.KVCreateOpt) (uint64, error) {
	return m.Put(ctx, key, value)
}

func (m *memory) Update(ctx context.Context, key string, value []byte, _ uint64) (uint64, error) {
	return m.Put(ctx, key, value)
}

func (m *memory) Delete(_ context.Context, key string, _ ...jetstream.KVDeleteOpt) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	return m.fails
}
