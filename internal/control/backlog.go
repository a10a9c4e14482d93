package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// Backlog is what NATS holds for an endpoint.
type Backlog struct {
	Waiting     uint64    // in the endpoint's own lane, not settled
	Oldest      time.Time // when the event of the first of those was accepted; zero: there is none
	Retries     uint64    // waiting for the time of their next attempt, or for that attempt
	DeadLetters uint64
}

const (
	// requests bounds how many questions about backlogs are asked at once.
	requests = 8
	// listedSchedules is up to how many schedules are listed, to be counted here.
	// The server takes some 40 µs for each, and 0.2 ms to count those of one
	// endpoint.
	listedSchedules = 20_000
	// pastTheEnd is an offset at which the server lists no subjects.
	pastTheEnd = 1 << 30
)

// BacklogOf returns the backlog of one endpoint, whether or not it is in the
// configuration. Streams that do not exist hold nothing.
func BacklogOf(ctx context.Context, api jsapi.API, names wire.Names, endpoint string) (Backlog, error) {
	b := &backlogs{found: make(map[string]Backlog)}
	err := errors.Join(
		b.count(ctx, api, names.LanesStream(), names.LaneSubject(endpoint), waiting),
		b.count(ctx, api, names.RetriesStream(), names.DueSubject(endpoint), retries),
		b.count(ctx, api, names.DeadLettersStream(), names.DeadLetterSubject(endpoint), deadLetters),
		b.countSchedules(ctx, api, names, endpoint),
		b.askLanes(ctx, api, names),
	)
	return b.found[endpoint], err
}

// Backlogs returns the backlog of every endpoint that has one. Where very many
// retries wait, those of endpoints that are not known are left out if nothing
// else waits for them; of very many lanes, only the longest say what is oldest, and
// the others count what is settled but not removed yet as waiting.
func Backlogs(ctx context.Context, api jsapi.API, names wire.Names, known []string) (map[string]Backlog, error) {
	b := &backlogs{found: make(map[string]Backlog)}
	err := errors.Join(
		b.count(ctx, api, names.LanesStream(), names.LaneSubject("*"), waiting),
		b.count(ctx, api, names.RetriesStream(), names.DueSubject("*"), retries),
		b.count(ctx, api, names.DeadLettersStream(), names.DeadLetterSubject("*"), deadLetters),
		b.countAllSchedules(ctx, api, names, known),
		b.askLanes(ctx, api, names),
	)
	return b.found, err
}

// backlogs collects. Its methods may be called concurrently.
type backlogs struct {
	mu    sync.Mutex
	found map[string]Backlog
}

// update changes the backlog of an endpoint.
func (b *backlogs) update(endpoint string, change func(*Backlog)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	of := b.found[endpoint]
	change(&of)
	b.found[endpoint] = of
}

// waiting, retries and deadLetters add what a stream counts.
func waiting(b *Backlog, n uint64)     { b.Waiting += n }
func retries(b *Backlog, n uint64)     { b.Retries += n }
func deadLetters(b *Backlog, n uint64) { b.DeadLetters += n }

// count adds what a stream holds on subjects whose third token is the endpoint.
func (b *backlogs) count(ctx context.Context, api jsapi.API, stream, filter string, add func(*Backlog, uint64)) error {
	page, err := subjects(ctx, api, stream, filter, 0)
	if err != nil {
		return err
	}
	for subject, n := range page.State.Subjects {
		b.update(wire.EndpointOf(subject), func(of *Backlog) { add(of, n) })
	}
	return nil
}

// countSchedules adds the retries of one endpoint. Each has a subject of its own,
// so that the number of subjects says it; a page past their end lists none.
func (b *backlogs) countSchedules(ctx context.Context, api jsapi.API, names wire.Names, endpoint string) error {
	page, err := subjects(ctx, api, names.RetriesStream(), names.RetrySubject(endpoint, "*"), pastTheEnd)
	if err == nil && page.Total > 0 {
		b.update(endpoint, func(of *Backlog) { of.Retries += uint64(page.Total) })
	}
	return err
}

// countAllSchedules adds the retries of all endpoints: from a list of them, or,
// if there are too many, by asking for the number of each endpoint.
func (b *backlogs) countAllSchedules(ctx context.Context, api jsapi.API, names wire.Names, known []string) error {
	all := names.RetrySubject("*", "*")
	page, err := subjects(ctx, api, names.RetriesStream(), all, pastTheEnd)
	if err != nil || page.Total == 0 {
		return err
	}
	if page.Total <= listedSchedules {
		page, err = subjects(ctx, api, names.RetriesStream(), all, 0)
		for subject := range page.State.Subjects {
			b.update(wire.EndpointOf(subject), func(of *Backlog) { of.Retries++ })
		}
		return err
	}
	endpoints := b.snapshot()
	for _, endpoint := range known {
		endpoints[endpoint] = Backlog{}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(requests)
	for endpoint := range endpoints {
		group.Go(func() error { return b.countSchedules(ctx, api, names, endpoint) })
	}
	return group.Wait()
}

// snapshot copies what was found so far.
func (b *backlogs) snapshot() map[string]Backlog {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.found)
}

// subjectsPage is what the server answers to a question about a stream.
type subjectsPage struct {
	Total int `json:"total"` // subjects that the filter selects
	State struct {
		Subjects map[string]uint64 `json:"subjects"` // messages by subject, of this page
	} `json:"state"`
}

// subjects asks a stream for the number of messages of each subject; a stream
// that does not exist has none. nats.go would fetch all pages.
func subjects(ctx context.Context, api jsapi.API, stream, filter string, offset int) (subjectsPage, error) {
	question := struct {
		Filter string `json:"subjects_filter"`
		Offset int    `json:"offset,omitempty"`
	}{filter, offset}
	var page subjectsPage
	if err := api.Ask(ctx, "STREAM.INFO."+stream, question, &page); err != nil && !jsapi.IsCode(err, jetstream.JSErrCodeStreamNotFound) {
		return subjectsPage{}, fmt.Errorf("asking for the state of the stream %s: %w", stream, err)
	}
	return page, nil
}
