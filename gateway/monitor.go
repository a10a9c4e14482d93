package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/config"
	"fanjet/gateway/topology"
	"fanjet/internal/broker"
	"fanjet/internal/jsapi"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
)

const (
	monitorEvery = 500 * time.Millisecond
	// stuckAfter is how long the connection may take to say how it is. A write to
	// one that takes nothing holds its lock.
	stuckAfter = 5 * time.Second
	// lookEvery is how often the streams are looked at, and lookFor how long that
	// may take.
	lookEvery, lookFor = 5 * time.Second, 10 * time.Second
	// changeAfter is for how long a server of several must have left all looks
	// without an answer until another one is tried: longer than an election takes.
	changeAfter = 15 * time.Second
)

// monitor watches the connection, the publishers and the streams, and reports to
// health.
type monitor struct {
	nc          *nats.Conn
	js          jetstream.JetStream
	names       wire.Names
	config      *config.Config
	publishers  map[string]*publish.Publisher // by the stream
	permissions *permissions
	server      *broker.Server // nil: an external NATS
	health      *health
	log         *zap.Logger

	probed   time.Time    // when the streams were last asked; only probe uses it
	full     bool         // what they said
	alive    atomic.Int64 // when the connection last said how it is, in ns
	answered time.Time    // when the server last reached JetStream; only look uses it
	stalls   stalls       // only look uses it
}

// run watches until ctx ends.
func (m *monitor) run(ctx context.Context) {
	m.alive.Store(time.Now().UnixNano())
	m.answered = time.Now()
	var parts sync.WaitGroup
	parts.Go(func() { repeat(ctx, monitorEvery, m.observe) })
	parts.Go(func() { repeat(ctx, monitorEvery, m.watchStuck) })
	parts.Go(func() { repeat(ctx, lookEvery, func() { m.look(ctx) }) })
	parts.Go(func() { repeat(ctx, monitorEvery, func() { m.probe(ctx) }) })
	parts.Wait()
}

// repeat calls f every so often until ctx ends.
func repeat(ctx context.Context, every time.Duration, f func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

// observe reports how the connection and the publishers are.
func (m *monitor) observe() {
	var disconnected error
	if !m.nc.IsConnected() { // waits while a write holds the connection
		disconnected = errors.New("not connected")
	}
	m.alive.Store(time.Now().UnixNano())
	m.health.set("nats", disconnected)
	for stream, p := range m.publishers {
		m.health.set("publishing to "+stream, p.Held())
	}
	missing, resubscribe := m.permissions.missing(time.Now())
	m.health.set("nats permissions", missing)
	if resubscribe {
		_ = m.nc.ForceReconnect() // which makes all subscriptions anew
	}
}

// watchStuck notices when observe is stuck.
func (m *monitor) watchStuck() {
	var stuck error
	if waited := time.Since(time.Unix(0, m.alive.Load())); waited > stuckAfter {
		stuck = errors.New("the connection takes nothing")
	}
	m.health.set("nats connection", stuck)
}

// probe asks the streams whether they can store anything, more often while they
// cannot. The embedded server hears of it, and recovers.
func (m *monitor) probe(ctx context.Context) {
	if !m.nc.IsConnected() || !m.full && time.Since(m.probed) < lookEvery {
		return
	}
	m.probed = time.Now()
	timed, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	timed, answered := jsapi.WhileConnected(timed, m.nc)
	defer answered()
	var restarts uint64
	if m.server != nil {
		restarts = m.server.Restarts()
	}
	err := probeStorage(timed, m.js, m.names, m.server != nil)
	if ctx.Err() != nil {
		return
	}
	m.full = err != nil
	m.health.set(partStorage, err)
	if err != nil && m.server != nil {
		m.server.Report(restarts, err)
	}
}

// look looks at the streams and consumers. One of several servers that does not
// reach JetStream for long is left for another one: it may be cut off from the
// rest of its cluster, which its clients cannot see.
func (m *monitor) look(ctx context.Context) {
	if !m.nc.IsConnected() {
		m.answered = time.Now() // counts from the next connection
		return
	}
	timed, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	err := topology.Check(timed, m.js, m.names, m.config)
	if ctx.Err() != nil {
		return
	}
	m.health.setPatiently("streams", err)
	m.health.set("waiting", m.stalls.look(timed, m.js, m.names, m.config))
	if broker.Transient(err) {
		// One stream may have no leader, and everything else be well.
		_, err = m.js.AccountInfo(ctx) // has a timeout of its own
	}
	switch {
	case !broker.Transient(err):
		m.answered = time.Now()
	case time.Since(m.answered) > changeAfter && len(m.nc.Servers()) > 1:
		m.log.Warn("the NATS server does not reach JetStream; changing to another one",
			zap.String("server", m.nc.ConnectedServerName()), zap.Error(err))
		m.answered = time.Now()
		_ = m.nc.ForceReconnect()
	}
}
