package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// benchStream is the source of a benchmark, benchSubjects what it takes.
const (
	benchStream   = "EVENTS"
	benchSubjects = "events.>"
)

// preloadTime bounds the publishing of any number of events.
const preloadTime = 10 * time.Minute

// startPreload is the child that fills a fresh folder: it makes the stream and
// publishes the events, those of all subjects in turn, with a server that it
// starts and stops. It is a process of its own so that what it leaves in memory
// is not measured, and it does not sync each write, which takes long and makes
// no difference to what is read later.
func startPreload(j job) (work, error) {
	server, err := natsServer(j.Dir, "1s")
	if err != nil {
		return work{}, err
	}
	nc, err := connectNATS(j.Dir, "", server)
	if err != nil {
		return work{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), preloadTime)
	defer cancel()
	if err := preload(ctx, nc, j); err != nil {
		return work{}, fmt.Errorf("preloading: %w", err)
	}
	nc.Close()
	server.Shutdown()
	// The next process shall not pay for what this one left to be written.
	syscall.Sync()
	return work{stop: func() error { return nil }}, nil
}

func preload(ctx context.Context, nc *nats.Conn, j job) error {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096), jetstream.WithPublishAsyncTimeout(preloadTime))
	if err != nil {
		return err
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: benchStream, Subjects: []string{benchSubjects}, Discard: jetstream.DiscardNew, MaxAge: 168 * time.Hour,
		Duplicates: 10 * time.Minute, AllowAtomicPublish: true, AllowDirect: true,
	})
	if err != nil {
		return err
	}
	for i := range j.Events {
		if _, err := js.PublishMsgAsync(event(i%j.Subjects, i/j.Subjects, j.Size), jetstream.WithStallWait(preloadTime)); err != nil {
			return err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	info, err := stream.Info(ctx)
	if err == nil && info.State.Msgs != uint64(j.Events) {
		err = fmt.Errorf("the stream holds %d of %d events", info.State.Msgs, j.Events)
	}
	return err
}

// published is how many events each subject has after a preload.
func published(events, subjects int) []int {
	count := make([]int, subjects)
	for j := range count {
		count[j] = (events + subjects - 1 - j) / subjects
	}
	return count
}
