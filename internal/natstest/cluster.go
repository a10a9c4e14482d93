package natstest

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/faultproxy"
)

// Cluster is three NATS servers in the process of the test, so that streams can
// have three replicas. Every way from one to another leads through a proxy. Its
// methods fail the test, and are for its own goroutine.
type Cluster struct {
	t       testing.TB
	Servers []*Server
	ways    map[[2]int]*faultproxy.Proxy // from and to
}

const clusterSize = 3

// StartCluster starts a cluster and waits until it is whole. It lives as long as
// the test.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t, ways: make(map[[2]int]*faultproxy.Proxy)}
	ports := freePorts(t, clusterSize)
	for i := range ports {
		var routes []*url.URL // JetStream starts in no cluster without any
		for j, port := range ports {
			if i == j {
				continue
			}
			p, err := faultproxy.Start(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				t.Fatalf("natstest: %v", err)
			}
			t.Cleanup(p.Close)
			c.ways[[2]int{i, j}] = p
			routes = append(routes, &url.URL{Scheme: "nats-route", Host: p.Addr()})
		}
		c.Servers = append(c.Servers, Start(t, Options{Listen: true, Adjust: func(o *server.Options) {
			o.ServerName = fmt.Sprintf("n%d", i)
			// What they learn of each other must be no way around the proxies.
			o.Cluster = server.ClusterOpts{Name: "natstest", Host: "127.0.0.1", Port: ports[i], NoAdvertise: true, Advertise: "127.0.0.1:1"}
			o.Routes = routes
		}}))
	}
	c.Whole()
	return c
}

// Slow has all that one of the servers and the others say to each other arrive so
// much later: as a follower it lags behind.
func (c *Cluster) Slow(server int, delay time.Duration) {
	for way, p := range c.ways {
		if way[0] == server || way[1] == server {
			p.Set(faultproxy.Fault{Delay: delay})
		}
	}
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

// Connect opens a connection to one of the servers, which goes to another one when
// that stops. It is closed at the end of the test.
func (c *Cluster) Connect() *nats.Conn {
	c.t.Helper()
	return c.connect(c.URL())
}

// ConnectTo opens a connection to one of the servers and no other.
func (c *Cluster) ConnectTo(server int) *nats.Conn {
	c.t.Helper()
	return c.connect(c.Servers[server].URL())
}

func (c *Cluster) connect(urls string) *nats.Conn {
	c.t.Helper()
	nc, err := nats.Connect(urls, nats.IgnoreDiscoveredServers(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0))
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
	c.stepDown(js, "STREAM.LEADER.STEPDOWN."+stream, func() string { return c.streamLeader(js, stream) })
}

// Leader returns the server that leads a stream.
func (c *Cluster) Leader(js jetstream.JetStream, stream string) (server int) {
	c.t.Helper()
	c.until(stream+" has a leader", func() bool {
		leader := c.streamLeader(js, stream)
		server = slices.IndexFunc(c.Servers, func(s *Server) bool { return s.srv.Name() == leader })
		return server >= 0
	})
	return server
}

// Follower returns a server that has a replica of a stream and does not lead it.
func (c *Cluster) Follower(js jetstream.JetStream, stream string) (server int) {
	c.t.Helper()
	return (c.Leader(js, stream) + 1) % clusterSize
}

// streamLeader returns the name of the server that leads a stream; empty: none
// does at the moment.
func (c *Cluster) streamLeader(js jetstream.JetStream, stream string) string {
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
