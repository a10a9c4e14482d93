package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"fanjet/config"
	"fanjet/internal/secret"
	"fanjet/internal/wire"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/webhook"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"
)

// canary proves that events come through: it publishes some of its own, has them
// delivered as any other to a receiver inside the process, and tells how old the
// newest is that arrived. Whichever replica delivers one says so to the replica
// that published it, which therefore needs no other clock than its own.
type canary struct {
	config.Canary
	replica  string
	names    wire.Names
	log      *zap.Logger
	health   *health
	listener net.Listener
	endpoint endpoint.Settings
	receiver *http.Server

	mu     sync.Mutex
	began  time.Time     // when the first one was published
	sent   []time.Time   // when each was, as far back as one may still count
	first  int           // the number of the first in sent
	newest time.Time     // when the newest was sent that came through
	took   time.Duration // how long that was under way
	nc     *nats.Conn    // nil before the start
}

// canaryBody is the event.
type canaryBody struct {
	Replica string `json:"replica"`
	Number  int    `json:"number"`
}

// newCanary binds the receiver; nil without canaries.
func newCanary(settings config.Canary, names wire.Names, h *health, reg prometheus.Registerer, log *zap.Logger) (*canary, error) {
	if settings.Subject == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	c := &canary{
		Canary: settings, replica: strings.ToLower(rand.Text()[:12]), names: names,
		log: log.Named("canary"), health: h, listener: listener,
	}
	key := webhook.NewSecret()
	verifier, err := webhook.NewVerifier(key)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	handler, err := webhook.NewHandler(http.HandlerFunc(c.receive), webhook.HandlerOptions{Verifier: verifier, MaxBody: 4 << 10})
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	c.receiver = &http.Server{Handler: handler, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute}

	at := netip.MustParseAddrPort(listener.Addr().String())
	c.endpoint = endpoint.Default()
	c.endpoint.Name = config.CanaryEndpoint
	c.endpoint.URL = &url.URL{Scheme: "http", Host: at.String(), Path: "/"}
	c.endpoint.Secrets = []secret.Value{secret.New(key)}
	c.endpoint.Timeout = 5 * time.Second
	c.endpoint.Policy = &egress.Policy{
		AllowHTTP:  true,
		AllowCIDRs: []egress.AllowedNet{{Prefix: netip.PrefixFrom(at.Addr(), 32), Port: at.Port()}},
	}
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fanjet_canary_age_seconds", Help: "How long ago the newest canary was published that came through.",
	}, func() float64 { return c.age(time.Now()).Seconds() })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fanjet_canary_seconds", Help: "How long the newest canary that came through was under way.",
	}, func() float64 { c.mu.Lock(); defer c.mu.Unlock(); return c.took.Seconds() })
	return c, nil
}

// join returns a configuration that has the endpoint of the canaries, too.
func (c *canary) join(cfg *config.Config) *config.Config {
	if c == nil {
		return cfg
	}
	with := *cfg
	with.Endpoints = append(slices.Clone(cfg.Endpoints), c.endpoint)
	slices.SortFunc(with.Endpoints, func(a, b endpoint.Settings) int { return cmp.Compare(a.Name, b.Name) })
	return &with
}

// close gives the receiver up before it was started.
func (c *canary) close() {
	if c != nil {
		_ = c.listener.Close()
	}
}

// own returns the endpoint of a canary, and whether an event is one. It goes
// there only, and no subscription sees it.
func (c *canary) own(subject string) (name string, is bool) {
	return config.CanaryEndpoint, c != nil && subject == c.Subject
}

// listen has canaries received until ctx ends.
func (c *canary) listen(ctx context.Context) {
	var serving sync.WaitGroup
	serving.Go(func() { _ = c.receiver.Serve(c.listener) }) // ends with Close
	<-ctx.Done()
	_ = c.receiver.Close()
	serving.Wait()
}

// run publishes canaries until ctx ends, and watches their age.
func (c *canary) run(ctx context.Context, js jetstream.JetStream) {
	nc := js.Conn()
	heard, err := nc.Subscribe(c.names.ControlCanarySubject(c.replica), func(m *nats.Msg) {
		if number, err := strconv.Atoi(string(m.Data)); err == nil {
			c.arrived(number, time.Now())
		}
	})
	if err != nil {
		c.log.Error("canaries are not heard of", zap.Error(err))
		return
	}
	defer func() { _ = heard.Unsubscribe() }() // fails only on a closed connection
	c.mu.Lock()
	c.began, c.nc = time.Now(), nc
	c.mu.Unlock()

	look := time.NewTicker(min(time.Second, c.Every))
	defer look.Stop()
	publish := time.NewTicker(c.Every)
	defer publish.Stop()
	var publishing sync.WaitGroup
	defer publishing.Wait()
	publishing.Go(func() { c.publish(ctx, js) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-publish.C:
			publishing.Go(func() { c.publish(ctx, js) })
		case now := <-look.C:
			var fault error
			if age := c.age(now); age > c.MaxAge {
				fault = fmt.Errorf("no event that was published in the last %v came through", c.MaxAge)
			}
			c.health.set("canary", fault)
		}
	}
}

// publish sends one. A canary that cannot be published shows in the age.
func (c *canary) publish(ctx context.Context, js jetstream.JetStream) {
	now := time.Now()
	c.mu.Lock()
	c.sent = append(c.sent, now)
	number := c.first + len(c.sent) - 1
	for len(c.sent) > 1 && now.Sub(c.sent[0]) > 2*c.MaxAge {
		c.sent, c.first = c.sent[1:], c.first+1
	}
	c.mu.Unlock()
	data, err := json.Marshal(canaryBody{Replica: c.replica, Number: number})
	if err == nil {
		timed, cancel := context.WithTimeout(ctx, c.Every)
		defer cancel()
		_, err = js.Publish(timed, c.Subject, data)
	}
	if err != nil && ctx.Err() == nil {
		c.log.Warn("a canary cannot be published", zap.Error(err))
	}
}

// receive takes one, of whichever replica, and tells that replica.
func (c *canary) receive(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	var body canaryBody
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(data)).Decode(&body)
	}
	c.mu.Lock()
	nc := c.nc
	c.mu.Unlock()
	// An event that somebody else published on the subject is no canary, and is
	// done with.
	if err == nil && nc != nil && endpoint.CheckName(body.Replica) == nil {
		err = nc.Publish(c.names.ControlCanarySubject(body.Replica), strconv.AppendInt(nil, int64(body.Number), 10))
		if err != nil {
			c.log.Warn("a canary came through and nobody can be told", zap.Error(err))
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// arrived notes that a canary of this replica came through.
func (c *canary) arrived(number int, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := number - c.first
	if i < 0 || i >= len(c.sent) || !c.sent[i].After(c.newest) {
		return
	}
	c.newest, c.took = c.sent[i], now.Sub(c.sent[i])
}

// age is how long ago the newest canary was published that came through; before
// the first did, how long canaries are published.
func (c *canary) age(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.newest
	if since.IsZero() {
		since = c.began
	}
	if since.IsZero() {
		return 0
	}
	return now.Sub(since)
}
