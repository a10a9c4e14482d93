package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// setup is what one measurement runs with.
type setup struct {
	Tier     string        `json:"tier"`   // fsync, or a sync interval
	Events   int           `json:"events"` // preloaded; with a steady load 0
	Size     int           `json:"size"`   // bytes of a body
	InFlight int           `json:"in_flight"`
	Replicas int           `json:"replicas"` // processes beside a separate NATS server; 0: one, with the server inside
	Timeout  time.Duration `json:"-"`
	Scrape   time.Duration `json:"-"` // between two looks at the metrics; 0: none
	Times    bool          `json:"-"` // the receiver keeps the time of each arrival
	Answer   time.Duration `json:"-"` // how long the receiver takes for a healthy endpoint
	Profile  string        `json:"-"` // of the first process

	variant
}

// variant says which gateway is measured.
type variant struct {
	// Build is the bench program of another checkout, whose gateway is measured
	// in place of this one's.
	Build string `json:"build,omitempty"`
	// LogOnly has every delivery written down before it is attempted.
	LogOnly bool `json:"log_only,omitempty"`
}

// build is what a table calls it.
func (v variant) build() string {
	if v.Build != "" {
		return "other"
	}
	return "this"
}

// What can be measured.
const (
	bareLoopKind = "bare"
	gatewayKind  = "gateway"
)

// world is the processes of one measurement.
type world struct {
	setup
	plan    plan
	kind    string
	dir     string
	sink    *child
	server  *child // nil: inside the only runner
	runners []*child
	began   time.Time // when the first runner was at work
	until   time.Time // when its time is up

	nc      *nats.Conn
	js      jetstream.JetStream
	cancel  context.CancelFunc
	scraped context.CancelFunc // ends the scraping
	scrape  sync.WaitGroup
}

// open starts everything: the receiver, the preloaded stream, the server, and
// what is measured. Close the world after use.
func open(ctx context.Context, kind string, s setup, p plan) (w *world, err error) {
	w = &world{setup: s, plan: p, kind: kind, until: time.Now().Add(s.Timeout)}
	// Time is left to say what was missing, and to stop in order.
	ctx, w.cancel = context.WithTimeout(ctx, s.Timeout+time.Minute)
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.dir, err = os.MkdirTemp("", "fanjet-bench-"); err != nil {
		return w, err
	}
	if w.sink, err = spawn(ctx, "sink", job{Times: s.Times, Answer: s.Answer}); err != nil {
		return w, err
	}
	preload, err := spawn(ctx, "preload", job{Dir: w.dir, Events: s.Events, Subjects: p.Subjects, Size: s.Size})
	if err != nil {
		return w, err
	}
	if _, err := preload.stop(); err != nil {
		return w, err
	}
	if s.Replicas > 0 {
		if w.server, err = spawn(ctx, "server", job{Dir: w.dir, Tier: s.Tier}); err != nil {
			return w, err
		}
	}
	return w, w.start(ctx)
}

// start starts what is measured, and connects to its NATS server.
func (w *world) start(ctx context.Context) error {
	url := ""
	if w.server != nil {
		url = w.server.hello.URL
	}
	if err := w.startRunners(ctx, url); err != nil {
		return err
	}
	if url == "" {
		url = w.runners[0].hello.URL
	}
	var err error
	if w.nc, err = connectNATS(w.dir, url, nil); err != nil {
		return err
	}
	w.js, err = jetstream.New(w.nc)
	w.startScraping(ctx)
	return err
}

// kill ends what is measured with SIGKILL, and with it the NATS server, unless
// that is a process of its own. Start it again with start.
func (w *world) kill() {
	for _, r := range w.runners {
		r.kill()
	}
	w.runners = nil
	w.scraped()
	w.nc.Close()
}

// startRunners starts all replicas at once. The time counts from the first that
// is at work.
func (w *world) startRunners(ctx context.Context, url string) error {
	j := job{Dir: w.dir, Tier: w.Tier, NATS: url, Sink: w.sink.hello.URL, InFlight: w.InFlight}
	if w.kind == gatewayKind {
		var err error
		if j.Config, err = w.plan.writeConfig(w.dir, w.setup, url, w.sink.hello.URL); err != nil {
			return err
		}
	}
	count := max(1, w.Replicas)
	runners, errs := make([]*child, count), make([]error, count)
	var starting sync.WaitGroup
	for i := range count {
		mine := j
		if i == 0 {
			mine.Profile = w.Profile
		}
		starting.Go(func() {
			if w.Build != "" && w.kind == gatewayKind {
				runners[i], errs[i] = spawnOf(ctx, w.Build, w.kind, mine)
				return
			}
			runners[i], errs[i] = spawn(ctx, w.kind, mine)
		})
	}
	starting.Wait()
	for i, r := range runners {
		if errs[i] == nil {
			w.runners = append(w.runners, r)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, r := range w.runners {
		if began := time.Unix(0, r.hello.Began); w.began.IsZero() || began.Before(w.began) {
			w.began = began
		}
	}
	return nil
}

// finish stops every process and returns the CPU seconds that were used: by
// what is measured, with the NATS server, and by the receiver.
func (w *world) finish() (cpu, sink float64, err error) {
	stop := func(c *child) float64 {
		if c == nil {
			return 0
		}
		g, e := c.stop()
		err = errors.Join(err, e)
		return g.CPU
	}
	for _, r := range w.runners {
		cpu += stop(r)
	}
	cpu += stop(w.server)
	return cpu, stop(w.sink), err
}

// close ends what still runs and removes the streams.
func (w *world) close() {
	if w.nc != nil {
		w.nc.Close()
	}
	_, _, _ = w.finish() // what matters was returned by the first call
	w.cancel()
	if w.scraped != nil {
		w.scraped()
	}
	w.scrape.Wait()
	if w.dir != "" {
		if err := os.RemoveAll(w.dir); err != nil {
			fmt.Fprintln(os.Stderr, "bench: left behind:", err)
		}
	}
}
