package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"fanjet/internal/control"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const (
	maxPings    = 16               // test events on their way at once
	pingTimeout = 30 * time.Second // of one, unless the request says otherwise
)

// endpointControl is what operators may ask of the endpoints of a replica. Its
// methods may be called concurrently.
type endpointControl interface {
	// Statuses tells of every endpoint of the configuration, in a slice of the
	// caller's own.
	Statuses() []endpoint.Status
	// Lift ends what an endpoint waits for without being paused; nil: there was
	// nothing. The error says why it is not known.
	Lift(endpoint string) (*endpoint.Lifted, error)
	// Ping sends a signed test event to an endpoint, outside of all streams and
	// limits. The error says why no attempt was made.
	Ping(ctx context.Context, endpoint string) (outcome.Result, error)
}

// controlServer answers the requests of operators: every replica says how its
// endpoints do, and ends their waits, one of them sends a test event.
type controlServer struct {
	nc        *nats.Conn
	names     wire.Names
	endpoints endpointControl
	self      control.Replica
	presence  *presence
	ready     func() error         // nil: not asked
	overdue   func() time.Duration // of the retry that is overdue for longest; nil: not known
	refused   func() error         // why the latest configuration is not in force; nil: not asked
	missed    func() uint64
	log       *zap.Logger

	// A request that finds no room is lost; whoever asked tries again.
	statuses, pings, resumes chan *nats.Msg
	subs                     []*nats.Subscription
}

func newControlServer(nc *nats.Conn, names wire.Names, endpoints endpointControl, version string, log *zap.Logger) *controlServer {
	host, _ := os.Hostname() // only for people
	c := &controlServer{
		nc: nc, names: names, endpoints: endpoints, log: log.Named("control"),
		statuses: make(chan *nats.Msg, 64), pings: make(chan *nats.Msg, 64), resumes: make(chan *nats.Msg, 64),
		self: control.Replica{
			ID: strings.ToLower(rand.Text()[:8]), Host: cmp.Or(host, "unknown"), Version: version, Started: time.Now().UTC(),
		},
	}
	c.presence = newPresence(nc, names, c.self)
	return c
}

// listen begins to take requests, for run. It returns when the server knows, so
// that an operator who sees that a gateway is ready gets answers. That questions
// cannot be received is no reason not to deliver.
func (c *controlServer) listen() {
	subscribe := func(sub *nats.Subscription, err error) {
		if err != nil {
			c.log.Error("operators get no answers about endpoints", zap.Error(err))
			return
		}
		c.subs = append(c.subs, sub)
	}
	subscribe(c.nc.ChanSubscribe(c.names.ControlAliveSubject(), c.presence.heard))
	subscribe(c.nc.ChanSubscribe(c.names.ControlEndpointsSubject(), c.statuses))
	subscribe(c.nc.ChanQueueSubscribe(c.names.ControlPingSubject("*"), c.names.Prefix(), c.pings))
	subscribe(c.nc.ChanSubscribe(c.names.ControlResumeSubject("*"), c.resumes))
	c.presence.say(control.Alive{New: true})
	_ = c.nc.FlushTimeout(2 * time.Second) // if NATS is away, it hears of it on reconnect
}

// run answers until ctx ends.
func (c *controlServer) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() {
		for _, sub := range c.subs {
			_ = sub.Unsubscribe() // fails only on a closed connection
		}
		c.presence.end()
		cancel()
		running.Wait()
	}()

	beat := time.NewTicker(aliveEvery)
	defer beat.Stop()
	slots := make(chan struct{}, maxPings)
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-c.presence.heard:
			c.presence.hear(m)
		case <-beat.C:
			c.presence.beat()
		case m := <-c.statuses:
			c.presence.drain()
			c.report(m)
		case m := <-c.resumes:
			c.presence.drain()
			c.lift(m)
		case m := <-c.pings:
			select {
			case slots <- struct{}{}:
				running.Go(func() {
					defer func() { <-slots }()
					c.ping(ctx, m)
				})
			default:
				c.answer(m, control.PingAnswer{Error: fmt.Sprintf("%d test events are on their way already", maxPings)})
			}
		}
	}
}

// report answers how the endpoints do.
func (c *controlServer) report(m *nats.Msg) {
	var request control.StatusRequest
	if err := json.Unmarshal(m.Data, &request); err != nil {
		c.log.Warn("a request about endpoints is unreadable", zap.Error(err))
		return
	}
	statuses := c.endpoints.Statuses()
	if len(request.Endpoints) > 0 {
		asked := make(map[string]bool, len(request.Endpoints))
		for _, name := range request.Endpoints {
			asked[name] = true
		}
		statuses = slices.DeleteFunc(statuses, func(s endpoint.Status) bool { return !asked[s.Endpoint] })
	}
	self := c.self
	if c.ready != nil {
		if err := c.ready(); err != nil {
			self.NotReady = shorten(err.Error(), maxNotReady)
		}
	}
	if c.overdue != nil {
		self.RetryOverdue = c.overdue().Seconds()
	}
	if c.refused != nil {
		if err := c.refused(); err != nil {
			self.ConfigRefused = shorten(problems(err)[0], maxNotReady)
		}
	}
	if c.missed != nil {
		self.EventsMissed = c.missed()
	}
	parts, err := control.Parts(self, statuses, c.nc.MaxPayload(), c.presence.known()...)
	if err != nil {
		c.log.Error("cannot tell how the endpoints do", zap.Error(err))
		return
	}
	for _, part := range parts {
		c.respond(m, part)
	}
}

// maxNotReady bounds what an answer says about readiness, in bytes: there is
// little room beside the endpoints.
const maxNotReady = 512

// shorten cuts a text after a number of bytes, or a little before.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}

// ping sends a test event, and answers what became of it.
func (c *controlServer) ping(ctx context.Context, m *nats.Msg) {
	var request control.PingRequest
	if err := json.Unmarshal(m.Data, &request); err != nil {
		c.log.Warn("a request about endpoints is unreadable", zap.Error(err))
		return
	}
	timeout := pingTimeout
	if request.Timeout > 0 {
		timeout = min(request.Timeout, endpoint.MaxTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	endpoint := lastToken(m.Subject)
	result, err := c.endpoints.Ping(ctx, endpoint)
	if err != nil {
		c.answer(m, control.PingAnswer{Endpoint: endpoint, Error: err.Error()})
		return
	}
	c.log.Info("test event", zap.String("endpoint", endpoint), zap.String("class", string(result.Class)),
		zap.Int("status", result.Status), zap.Duration("took", result.Took), zap.String("error", result.Failure()))
	answer := control.PingAnswer{
		Endpoint: endpoint, Class: result.Class, Status: result.Status, Error: result.Failure(),
		TookMS: float64(result.Took) / float64(time.Millisecond),
	}
	for _, s := range c.endpoints.Statuses() {
		if s.Endpoint == endpoint && s.State.Waits() {
			answer.State, answer.Reason, answer.Next = s.State, s.Reason, s.Next
		}
	}
	c.answer(m, answer)
}

// lift ends what an endpoint waits for, and answers what that was.
func (c *controlServer) lift(m *nats.Msg) {
	answer := control.LiftAnswer{Replica: c.self, Peers: c.presence.known()}
	var err error
	if answer.Lifted, err = c.endpoints.Lift(lastToken(m.Subject)); err != nil {
		answer.Error = err.Error()
	}
	data, err := json.Marshal(answer)
	if err != nil {
		c.log.Error("cannot tell what an operator ended", zap.Error(err))
		return
	}
	c.respond(m, data)
}

// answer sends what became of a test event.
func (c *controlServer) answer(m *nats.Msg, a control.PingAnswer) {
	a.Replica = c.self
	a.Endpoint = cmp.Or(a.Endpoint, lastToken(m.Subject))
	data, err := json.Marshal(a)
	if err != nil {
		c.log.Error("cannot tell what became of a test event", zap.Error(err))
		return
	}
	c.respond(m, data)
}

// respond sends an answer. If the connection is lost, nobody waits for it.
func (c *controlServer) respond(m *nats.Msg, data []byte) {
	if err := m.Respond(data); err != nil {
		c.log.Warn("an operator got no answer", zap.Error(err))
	}
}

func lastToken(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }
