package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/internal/broker"
)

const (
	benchStream  = "EVENTS"
	benchSubject = "events.order.created"
	benchSecret  = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

// embedded returns the settings of a server in a fresh folder.
func embedded(tier string) (broker.Embedded, func(), error) {
	dir, err := os.MkdirTemp("", "fanjet-bench-")
	if err != nil {
		return broker.Embedded{}, nil, err
	}
	e := broker.Embedded{StoreDir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:-1"}
	if tier != "fsync" {
		if e.SyncInterval, err = time.ParseDuration(tier); err != nil {
			return e, nil, err
		}
	}
	return e, func() { _ = os.RemoveAll(dir) }, nil
}

// preload publishes the events, with a server that it starts and stops.
func preload(e broker.Embedded, s setup) error {
	server, err := broker.StartEmbedded(e, zap.NewNop())
	if err != nil {
		return err
	}
	defer server.Shutdown()
	nc, err := nats.Connect("", nats.InProcessServer(server))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096), jetstream.WithPublishAsyncTimeout(s.Timeout))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: benchStream, Subjects: []string{"events.>"}, Discard: jetstream.DiscardNew, MaxAge: 168 * time.Hour,
		Duplicates: 10 * time.Minute, AllowAtomicPublish: true, AllowDirect: true,
	})
	if err != nil {
		return err
	}
	data := []byte(`{"type":"order.created","pad":"`)
	for len(data) < s.Size-2 {
		data = append(data, 'a'+byte(len(data)%26))
	}
	data = append(data, `"}`...)
	for i := range s.Events {
		if _, err := js.PublishAsync(benchSubject, data, jetstream.WithMsgID(fmt.Sprint("order-", i)), jetstream.WithStallWait(s.Timeout)); err != nil {
			return err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("preloading: %w", ctx.Err())
	}
}

// cpuSeconds is what this process has used.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// stopwatch measures from its start until all n are done.
type stopwatch struct {
	began time.Time
	cpu   float64
}

func startWatch() stopwatch { return stopwatch{time.Now(), cpuSeconds()} }

func (w stopwatch) stop(n int) figures {
	return figures{
		PerSecond: float64(n) / time.Since(w.began).Seconds(),
		CPUPer10k: (cpuSeconds() - w.cpu) / float64(n) * 1e4,
	}
}

// settled waits until the consumer has nothing left.
func settled(ctx context.Context, js jetstream.JetStream, stream, consumer string, n uint64) error {
	for {
		switch c, err := js.Consumer(ctx, stream, consumer); {
		case err == nil:
			if info := c.CachedInfo(); info.AckFloor.Stream >= n && info.NumAckPending == 0 {
				return nil
			}
		case !errors.Is(err, jetstream.ErrConsumerNotFound):
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not everything was delivered in time: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}
