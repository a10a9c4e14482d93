package natstest

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Cluster is three NATS servers in the process of the test, so that streams can
// have three replicas. Its methods fail the test, and are for its own goroutine.
type Cluster struct {
	t       testing.TB
	Servers []*Server
}

const clusterSize = 3

// StartCluster starts a cluster and waits until it is whole; that takes some
// seconds. It lives as long as the test.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	ports := freePorts(t, clusterSize)
	var routes []*url.URL // JetStream starts in no cluster without any
	for _, port := range ports {
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))})
	}
	for i, port := range ports {
		c.Servers = append(c.Servers, Start(t, Options{Listen: true, Adjust: func(o *server.Options) {
			o.ServerName = fmt.Sprintf("n%d", i)
			o.Cluster = server.ClusterOpts{Name: "natstest", Host: "127.0.0.1", Port: port}
			o.Routes = routes
		}}))
	}
	c.Whole()
	return c
}

// freePorts returns ports that nobody listens on at the moment.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("natstest: %v", err)
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// Whole waits until all servers run, know each other and have caught up with what
// they hold.
func (c *Cluster) Whole() {
	c.t.Helper()
	c.until("the cluster is whole", func() bool {
		led := false
		for _, s := range c.Servers {
			s.mu.Lock()
			srv := s.srv
			s.mu.Unlock()
			if srv.Healthz(nil).Status != "ok" {
				return false
			}
			led = led || len(srv.JetStreamClusterPeers()) == clusterSize // only the leader knows them
		}
		return led
	})
}

// URL is where clients reach all servers, separated by commas.
func (c *Cluster) URL() string {
	urls := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		urls[i] = s.URL()
	}
	return strings.Join(urls, ",")
}

// Connect opens a connection to one of the servers, which finds the others by
// itself. It is closed at the end of the test.
func (c *Cluster) Connect() *nats.Conn {
	c.t.Helper()
	nc, err := nats.Connect(c.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		c.t.Fatalf("natstest: connect: %v", err)
	}
	c.t.Cleanup(nc.Close)
	return nc
}

// JetStream is a client of JetStream on a connection of its own.
func (c *Cluster) JetStream() jetstream.JetStream {
	c.t.Helper()
	js, err := jetstream.New(c.Connect())
	if err != nil {
		c.t.Fatalf("natstest: %v", err)
	}
	return js
}

// StepDownConsumer has another server lead a consumer, and waits until one does.
func (c *Cluster) StepDownConsumer(js jetstream.JetStream, stream, consumer string) {
	c.t.Helper()
	c.stepDown(js, "CONSUMER.LEADER.STEPDOWN."+stream+"."+consumer, func() string {
		info, err := js.Consumer(c.t.Context(), stream, consumer)
		if err != nil || info.CachedInfo().Cluster == nil {
			return ""
		}
		return info.CachedInfo().Cluster.Leader
	})
}

// StepDownStream has another server lead a stream, and waits until one does.
func (c *Cluster) StepDownStream(js jetstream.JetStream, stream string) {
	c.t.Helper()
	c.stepDown(js, "STREAM.LEADER.STEPDOWN."+stream, func() string { return c.StreamLeader(js, stream) })
}

// StreamLeader returns the name of the server that leads a stream; empty: none
// does at the moment.
func (c *Cluster) StreamLeader(js jetstream.JetStream, stream string) string {
	info, err := js.Stream(c.t.Context(), stream)
	if err != nil || info.CachedInfo().Cluster == nil {
		return ""
	}
	return info.CachedInfo().Cluster.Leader
}

func (c *Cluster) stepDown(js jetstream.JetStream, request string, leader func() string) {
	c.t.Helper()
	before := leader()
	c.until("the leader has stepped down", func() bool {
		m, err := js.Conn().Request("$JS.API."+request, nil, 5*time.Second)
		return err == nil && strings.Contains(string(m.Data), `"success":true`)
	})
	c.until("another server leads", func() bool {
		after := leader()
		return after != "" && after != before
	})
}

func (c *Cluster) until(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.After(readyTimeout)
	for !ok() {
		select {
		case <-deadline:
			c.t.Fatalf("natstest: waited too long until %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
