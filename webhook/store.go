package webhook

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// What [Store.Begin] answers when a webhook must not be handled now.
var (
	// ErrDuplicate means that a webhook with this id was handled before.
	ErrDuplicate = errors.New("webhook was handled before")
	// ErrInProgress means that a webhook with this id is being handled now.
	ErrInProgress = errors.New("webhook is being handled already")
	// ErrStoreFull means that a [MemoryStore] has as many webhooks in progress
	// as it may remember.
	ErrStoreFull = errors.New("too many webhooks in progress")
)

// Store remembers which webhooks were handled, so that a [Handler] can drop
// duplicates. It must be safe for concurrent use.
//
// One that several processes share, such as a database table with the id as its
// key, should let claims expire, because the process that holds one may crash.
// A claim that expired and was given to somebody else must not be ended by its
// former owner: that is why Begin returns a value.
type Store interface {
	// Begin claims id for the caller, who then handles the webhook and ends the
	// claim. Of several callers at the same time one gets the claim. It returns
	// [ErrDuplicate] if a claim on id was ended as handled, [ErrInProgress] if
	// there is one that was not ended, and any other error if it cannot tell.
	Begin(ctx context.Context, id string) (Claim, error)
}

// Claim is the right to handle one webhook.
type Claim interface {
	// Done ends the claim. If the webhook was handled, its id is remembered,
	// otherwise it can be claimed again. It is called once; ctx outlives the
	// request.
	Done(ctx context.Context, handled bool) error
}

// What a [MemoryStore] remembers unless it is told otherwise.
const (
	DefaultTTL    = 72 * time.Hour // as long as Fanjet retries by default
	DefaultMaxIDs = 100_000        // some 20 MB
)

// MemoryStore is a [Store] for one process: it forgets everything when the
// process ends, and after that a duplicate is handled again. The zero value is
// ready. Fields may be set until it is used.
type MemoryStore struct {
	// TTL is how long a handled id is remembered. Zero means [DefaultTTL].
	TTL time.Duration
	// MaxIDs bounds how many ids are remembered. When there are more, the one
	// that was handled longest ago is forgotten. Zero means [DefaultMaxIDs].
	MaxIDs int
	// Now is the clock; nil means [time.Now].
	Now func() time.Time

	mu      sync.Mutex
	ids     map[string]*memoryClaim
	handled list.List // of *memoryClaim, by time; all live equally long, so the first expires first
}

// memoryClaim is an id that is in progress or was handled.
type memoryClaim struct {
	store   *MemoryStore
	id      string
	ended   bool
	expires time.Time // once handled
}

// Begin implements [Store]. It returns [ErrStoreFull] when MaxIDs webhooks are
// in progress.
func (s *MemoryStore) Begin(_ context.Context, id string) (Claim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if c := s.ids[id]; c != nil {
		if c.ended {
			return nil, ErrDuplicate
		}
		return nil, ErrInProgress
	}
	if len(s.ids) >= cmp.Or(s.MaxIDs, DefaultMaxIDs) {
		oldest := s.handled.Front()
		if oldest == nil {
			return nil, ErrStoreFull
		}
		s.forget(oldest)
	}
	if s.ids == nil {
		s.ids = make(map[string]*memoryClaim)
	}
	c := &memoryClaim{store: s, id: id}
	s.ids[id] = c
	return c, nil
}

// Done implements [Claim].
func (c *memoryClaim) Done(_ context.Context, handled bool) error {
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.ended {
		return nil
	}
	c.ended = true
	if !handled {
		delete(s.ids, c.id)
		return nil
	}
	c.expires = s.now().Add(cmp.Or(s.TTL, DefaultTTL))
	s.handled.PushBack(c)
	return nil
}

// Len returns how many ids the store remembers, those in progress included.
func (s *MemoryStore) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	return len(s.ids)
}

// expire forgets the ids whose time is over.
func (s *MemoryStore) expire() {
	now := s.now()
	for e := s.handled.Front(); e != nil && !now.Before(e.Value.(*memoryClaim).expires); e = s.handled.Front() {
		s.forget(e)
	}
}

func (s *MemoryStore) forget(e *list.Element) {
	c := s.handled.Remove(e).(*memoryClaim)
	delete(s.ids, c.id)
}

func (s *MemoryStore) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}
