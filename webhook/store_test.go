package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fanjet/webhook"
)

func begin(t testing.TB, s webhook.Store, id string, want error) webhook.Claim {
	t.Helper()
	c, err := s.Begin(t.Context(), id)
	if !errors.Is(err, want) || (c == nil) != (want != nil) {
		t.Fatalf("Begin(%q) = %v, %v, want error %v", id, c, err, want)
	}
	return c
}

func done(t testing.TB, c webhook.Claim, handled bool) {
	t.Helper()
	if err := c.Done(t.Context(), handled); err != nil {
		t.Fatalf("Done(%v) = %v", handled, err)
	}
}

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	s := new(webhook.MemoryStore)
	first := begin(t, s, "a", nil)
	begin(t, s, "a", webhook.ErrInProgress)
	other := begin(t, s, "b", nil)
	done(t, first, false)
	second := begin(t, s, "a", nil)
	done(t, first, true) // its claim ended before: it must not end the second one
	begin(t, s, "a", webhook.ErrInProgress)
	done(t, second, true)
	begin(t, s, "a", webhook.ErrDuplicate)
	done(t, second, false) // nor may it take back what it said
	begin(t, s, "a", webhook.ErrDuplicate)
	begin(t, s, "b", webhook.ErrInProgress)
	done(t, other, true)
	if got := s.Len(); got != 2 {
		t.Errorf("Len = %d, want 2", got)
	}
}

func TestMemoryStoreForgetsAfterTTL(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	s := &webhook.MemoryStore{TTL: time.Minute, Now: func() time.Time { return now }}
	done(t, begin(t, s, "a", nil), true)
	claim := begin(t, s, "in progress", nil)
	now = now.Add(time.Minute - 1)
	begin(t, s, "a", webhook.ErrDuplicate)
	now = now.Add(1)
	done(t, begin(t, s, "a", nil), false)
	begin(t, s, "in progress", webhook.ErrInProgress) // however long it takes
	done(t, claim, true)
	now = now.Add(time.Minute)
	if got := s.Len(); got != 0 {
		t.Errorf("Len = %d, want 0", got)
	}
}

func TestMemoryStoreIsBounded(t *testing.T) {
	t.Parallel()
	s := &webhook.MemoryStore{MaxIDs: 3}
	a, b := begin(t, s, "a", nil), begin(t, s, "b", nil)
	done(t, b, true)
	done(t, a, true)
	c := begin(t, s, "c", nil)
	d := begin(t, s, "d", nil)              // b, handled longest ago, makes room
	begin(t, s, "a", webhook.ErrDuplicate)  // a is still known
	e := begin(t, s, "e", nil)              // now a makes room
	begin(t, s, "f", webhook.ErrStoreFull)  // what is in progress stays
	begin(t, s, "c", webhook.ErrInProgress) // and is told apart although it is full
	done(t, c, false)
	begin(t, s, "b", nil)
	done(t, d, true)
	done(t, e, true)
}

// Of many that come at the same time one gets the claim.
func TestMemoryStoreGivesOneClaim(t *testing.T) {
	t.Parallel()
	s := new(webhook.MemoryStore)
	for round := range 50 {
		id := fmt.Sprint(round)
		var claims atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := s.Begin(t.Context(), id); err == nil {
					claims.Add(1)
				} else if !errors.Is(err, webhook.ErrInProgress) {
					t.Errorf("Begin = %v", err)
				}
			})
		}
		wg.Wait()
		if claims.Load() != 1 {
			t.Fatalf("%d got the claim, want 1", claims.Load())
		}
	}
}

// TestMemoryStoreModel compares the store with the simplest one that could be
// right: a list that is searched.
func TestMemoryStoreModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type known struct {
			id      string
			claim   webhook.Claim // while in progress
			expires time.Time
		}
		const ttl = 10 * time.Second
		var (
			model []known // the handled ones in the order in which they were handled
			now   = time.Unix(1000, 0)
			limit = rapid.IntRange(1, 5).Draw(t, "limit")
			store = &webhook.MemoryStore{TTL: ttl, MaxIDs: limit, Now: func() time.Time { return now }}
		)
		expire := func() {
			model = slices.DeleteFunc(model, func(k known) bool { return k.claim == nil && !now.Before(k.expires) })
		}
		id := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g"})
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				id := id.Draw(t, "id")
				var want error
				if i := slices.IndexFunc(model, func(k known) bool { return k.id == id }); i >= 0 {
					want = webhook.ErrDuplicate
					if model[i].claim != nil {
						want = webhook.ErrInProgress
					}
				} else if len(model) == limit {
					oldest := slices.IndexFunc(model, func(k known) bool { return k.claim == nil })
					if oldest < 0 {
						want = webhook.ErrStoreFull
					} else {
						model = slices.Delete(model, oldest, oldest+1)
					}
				}
				claim, err := store.Begin(context.Background(), id)
				if !errors.Is(err, want) {
					t.Fatalf("Begin(%q) = %v, want %v", id, err, want)
				}
				if err == nil {
					model = append(model, known{id: id, claim: claim})
				}
			},
			"done": func(t *rapid.T) {
				i := slices.IndexFunc(model, func(k known) bool { return k.claim != nil })
				if i < 0 {
					t.Skip("nothing is in progress")
				}
				k, handled := model[i], rapid.Bool().Draw(t, "handled")
				if err := k.claim.Done(context.Background(), handled); err != nil {
					t.Fatal(err)
				}
				model = slices.Delete(model, i, i+1)
				if handled {
					model = append(model, known{id: k.id, expires: now.Add(ttl)})
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 6).Draw(t, "seconds")) * time.Second)
				expire()
			},
			"": func(t *rapid.T) {
				if got := store.Len(); got != len(model) || got > limit {
					t.Fatalf("Len = %d, want %d, at most %d", got, len(model), limit)
				}
			},
		})
	})
}
