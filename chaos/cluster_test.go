package chaos

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/faultproxy"
)

// cluster is three NATS servers, each a process of its own. Every way from one to
// another leads through a proxy of its own, and no server knows any other way.
type cluster struct {
	w     *world
	nodes []*node
	ways  map[[2]int]*faultproxy.Proxy // from and to

	turn atomic.Uint64 // of the node that the next connection of a producer goes to
}

// node is one server of a cluster.
type node struct {
	c       *cluster
	name    string
	config  string
	client  string // host:port
	route   string
	monitor string
	log     tail

	cmd  *exec.Cmd // nil: it does not run
	done chan struct{}
}

const nodes = 3

// newCluster starts a cluster and waits until it is whole.
func (w *world) newCluster() *cluster {
	w.Helper()
	program, err := built.natsServer()
	if err != nil {
		w.Fatal(err)
	}
	c := &cluster{w: w, ways: make(map[[2]int]*faultproxy.Proxy)}
	ports := freePorts(w, 3*nodes)
	for i := range nodes {
		c.nodes = append(c.nodes, &node{
			c: c, name: fmt.Sprintf("n%d", i), config: filepath.Join(w.dir, fmt.Sprintf("n%d.conf", i)),
			client: ports[3*i], route: ports[3*i+1], monitor: ports[3*i+2],
		})
	}
	for i := range nodes {
		for j := range nodes {
			if i == j {
				continue
			}
			p, err := faultproxy.Start(c.nodes[j].route)
			if err != nil {
				w.Fatal(err)
			}
			w.Cleanup(p.Close)
			c.ways[[2]int{i, j}] = p
		}
	}
	for i, n := range c.nodes {
		n.configure(i)
		w.Cleanup(func() {
			n.end(syscall.SIGKILL)
			if w.Failed() {
				w.Logf("the latest log of %s:\n%s", n.name, n.log.String())
			}
		})
		n.start(program)
	}
	c.whole()
	return c
}

// freePorts returns addresses that nobody listens on at the moment. They are below those
// that a system gives to outgoing connections, which might take one before its server
// listens.
func freePorts(w *world, n int) []string {
	w.Helper()
	var out []string
	for tries := 0; len(out) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err != nil && tries < 1000 {
			continue // somebody has it
		}
		if err != nil {
			w.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out
}

// configure writes the configuration of a node. It advertises an address at which
// nobody listens: what the others learn of it from each other must not be a way
// around the proxies.
func (n *node) configure(i int) {
	var routes []string
	for j := range nodes {
		if p := n.c.ways[[2]int{i, j}]; p != nil {
			routes = append(routes, "nats-route://"+p.Addr())
		}
	}
	text := fmt.Sprintf(`
server_name: %s
listen: %q
http: %q
jetstream: {store_dir: %q, max_file_store: 4GB}
cluster: {name: chaos, listen: %q, advertise: "127.0.0.1:1", no_advertise: true, routes: [%s]}
`, n.name, n.client, n.monitor, filepath.Join(n.c.w.dir, n.name), n.route, strings.Join(routes, ", "))
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		n.c.w.Fatal(err)
	}
}

// start starts the server.
func (n *node) start(program string) {
	n.c.w.Helper()
	cmd := exec.Command(program, "-c", n.config)
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		n.c.w.Fatalf("%s: %v", n.name, err)
	}
	done := make(chan struct{})
	n.cmd, n.done = cmd, done
	go func() {
		defer close(done)
		n.log.read(stderr)
		_ = cmd.Wait()
	}()
}

func (n *node) restart() {
	n.c.w.Helper()
	program, err := built.natsServer()
	if err != nil {
		n.c.w.Fatal(err)
	}
	n.start(program)
}

// end sends a signal that ends the server, and waits.
func (n *node) end(s syscall.Signal) {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(s)
	select {
	case <-n.done:
	case <-time.After(patience):
		_ = n.cmd.Process.Kill()
		<-n.done
		n.c.w.Errorf("%s does not end", n.name)
	}
	n.cmd = nil
}

// healthy reports whether the server has caught up with everything that it holds.
func (n *node) healthy() bool {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + n.monitor + "/healthz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	client.CloseIdleConnections()
	return resp.StatusCode == http.StatusOK
}

// whole waits until every server runs, reaches the others, and has caught up.
func (c *cluster) whole() {
	c.w.Helper()
	for _, n := range c.nodes {
		c.w.until(n.name+" is healthy", n.healthy)
	}
}

// isolate cuts a node off from the others: nothing comes through any more, and
// nobody is told. With cut, its connections are reset instead, and new ones
// refused.
func (c *cluster) isolate(i int, cut bool) {
	for way, p := range c.ways {
		if way[0] != i && way[1] != i {
			continue
		}
		if cut {
			p.Set(faultproxy.Fault{Refuse: true})
			p.Cut()
		} else {
			p.Set(faultproxy.Fault{BlackHole: faultproxy.Both})
		}
	}
}

// rejoin ends all partitions.
func (c *cluster) rejoin() {
	for _, p := range c.ways {
		p.Heal()
	}
}

// urls is where all nodes listen, as nats.url has it.
func (c *cluster) urls() string {
	var out []string
	for _, n := range c.nodes {
		out = append(out, "nats://"+n.client)
	}
	return strings.Join(out, ",")
}

// next is the URL of one node after the other.
func (c *cluster) next() string { return "nats://" + c.nodes[c.turn.Add(1)%nodes].client }

// jetstream connects to the cluster.
func (c *cluster) jetstream() jetstream.JetStream {
	c.w.Helper()
	nc, err := nats.Connect(c.urls(), nats.Name("chaos"), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		c.w.Fatal(err)
	}
	c.w.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(5*time.Second))
	if err != nil {
		c.w.Fatal(err)
	}
	return js
}

// leader returns which node leads a stream.
func (c *cluster) leader(js jetstream.JetStream, stream string) int {
	c.w.Helper()
	at := -1
	c.w.until(stream+" has a leader", func() bool {
		s, err := js.Stream(c.w.Context(), stream)
		if err != nil || s.CachedInfo().Cluster == nil {
			return false
		}
		for i, n := range c.nodes {
			if n.name == s.CachedInfo().Cluster.Leader {
				at = i
			}
		}
		return at >= 0
	})
	return at
}

// stepDown has every stream and every consumer look for another leader. It
// returns how many there were.
func (c *cluster) stepDown(js jetstream.JetStream) (n int) {
	c.w.Helper()
	ctx := c.w.Context()
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		name := info.Config.Name
		if s, err := js.Stream(ctx, name); err == nil {
			for consumer := range s.ListConsumers(ctx).Info() {
				n += c.ask(js, "$JS.API.CONSUMER.LEADER.STEPDOWN."+name+"."+consumer.Name)
			}
		}
		n += c.ask(js, "$JS.API.STREAM.LEADER.STEPDOWN."+name)
	}
	return n
}

// ask makes a request and returns 1 if it was answered.
func (c *cluster) ask(js jetstream.JetStream, subject string) int {
	if _, err := js.Conn().Request(subject, nil, 5*time.Second); err != nil {
		return 0
	}
	return 1
}
