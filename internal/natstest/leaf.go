package natstest

import (
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// LeafPair is a hub with a JetStream domain, and a server at the edge that is
// linked to it as a leaf node, with a domain of its own.
type LeafPair struct {
	Hub, Edge *Server
}

// The domains of a [LeafPair].
const (
	HubDomain  = "hub"
	EdgeDomain = "edge"
)

// Leaf starts a hub and a server at its edge. Both listen for clients. It returns
// when the link is there.
func Leaf(t testing.TB) LeafPair {
	t.Helper()
	var link string
	pair := LeafPair{}
	pair.Hub = Start(t, Options{Listen: true, Adjust: func(o *server.Options) {
		o.ServerName, o.JetStreamDomain = "hub", HubDomain
		o.LeafNode.Host, o.LeafNode.Port = "127.0.0.1", server.RANDOM_PORT
	}})
	if addr := pair.Hub.leafAddr(); addr != "" {
		link = "nats-leaf://" + addr
	}
	remote, err := url.Parse(link)
	if err != nil || link == "" {
		t.Fatalf("natstest: the hub has no address for leaf nodes: %v", err)
	}
	pair.Edge = Start(t, Options{Listen: true, Adjust: func(o *server.Options) {
		o.ServerName, o.JetStreamDomain = "edge", EdgeDomain
		o.LeafNode.Remotes = []*server.RemoteLeafOpts{{URLs: []*url.URL{remote}}}
	}})
	for deadline := time.Now().Add(readyTimeout); pair.Edge.leaves() == 0; {
		if time.Now().After(deadline) {
			t.Fatalf("natstest: the leaf node is not connected after %v", readyTimeout)
		}
		<-time.After(time.Millisecond)
	}
	return pair
}

// leafAddr is where leaf nodes connect.
func (s *Server) leafAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	varz, err := s.srv.Varz(nil)
	if err != nil || varz.LeafNode.Port == 0 {
		return ""
	}
	return net.JoinHostPort(varz.LeafNode.Host, strconv.Itoa(varz.LeafNode.Port))
}

// leaves is how many leaf nodes are connected.
func (s *Server) leaves() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.srv.NumLeafNodes()
}
