package chaos

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/faultproxy"
	"fanjet/internal/wire"
)

// replicated is a cluster of NATS servers with replicas of the gateway, under
// load.
type replicated struct {
	*world
	cluster *cluster
	js      jetstream.JetStream
	paths   [gateways][nodes]*faultproxy.Proxy // from a gateway to a server
	visits  *producer                          // of events for the patient endpoint
	did     map[string]int                     // faults, by what was done
}

const gateways = 3

// newReplicated makes one, and publishes until the returned function is called.
func newReplicated(t *testing.T, seed uint64, perSecond int) (r *replicated, stop func()) {
	t.Helper()
	w := newWorld(t)
	w.drawDirect(seed)
	r = &replicated{world: w, cluster: w.newCluster(), did: map[string]int{}}
	r.js = r.cluster.jetstream()
	w.ledger.Ordered("line")
	w.hooks.set("flaky", failing(3, http.StatusServiceUnavailable))
	w.hooks.set("line", failing(20, http.StatusInternalServerError))
	w.hooks.set("dying", always(http.StatusUnprocessableEntity))
	for i := range gateways {
		urls := make([]string, nodes)
		for j, n := range r.cluster.nodes {
			p, err := faultproxy.Start(n.client)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			r.paths[i][j], urls[j] = p, "nats://"+p.Addr()
		}
		g := w.newGateway(fmt.Sprintf("gateway-%d", i), fmt.Sprintf("{url: %q, replicas: 3}", strings.Join(urls, ",")), strings.NewReplacer("SLOWLY", "400/s", "\nsubscriptions:\n", patient()).Replace(everything))
		if !g.start() {
			t.Fatal("a gateway does not start")
		}
	}
	r.visits = w.newProducer(r.cluster.next, patientKind)
	r.visits.published = 1 << 24 // other numbers than those of the events of the others
	p := w.newProducer(r.cluster.next, everythingKind)
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() { p.produce(ctx, perSecond) })
	stop = sync.OnceFunc(func() { cancel(); load.Wait() })
	t.Cleanup(stop)
	r.flows()
	return r, stop
}

// flows waits until more is delivered.
func (r *replicated) flows() {
	r.Helper()
	have := r.hooks.count("steady")
	r.until("deliveries flow", func() bool { return r.hooks.count("steady") > have+50 })
}

// broken breaks something, lets heal mend it, and waits until everybody is ready
// again.
func (r *replicated) broken(what string, do, heal func()) {
	r.Helper()
	r.breaks(r.fault(what, killReach), what, do, heal)
}

// breaks is broken for a fault that is entered already.
func (r *replicated) breaks(fault int, what string, do, heal func()) {
	r.Helper()
	r.did[strings.Fields(what)[0]]++
	began := time.Now()
	do()
	did := time.Since(began)
	heal()
	r.cluster.whole()
	whole := time.Since(began)
	for _, g := range r.gateways {
		r.until(g.name+" is ready", func() bool { return g.readyz() == "" })
	}
	r.flows()
	r.healed(fault)
	r.Logf("%s: %.1f s; the cluster was whole after %.1f s, the gateways ready after %.1f s", what, did.Seconds(), whole.Seconds(), time.Since(began).Seconds())
}

// killNode kills a server, and starts it again after a while.
func (r *replicated) killNode(i int, after time.Duration) {
	n := r.cluster.nodes[i]
	r.broken("kill -9 "+n.name, func() { n.end(syscall.SIGKILL); r.pause(after) }, n.restart)
}

// restartNode restarts a server in order.
func (r *replicated) restartNode(i int) {
	n := r.cluster.nodes[i]
	r.broken("restart "+n.name, func() { n.end(syscall.SIGTERM) }, n.restart)
}

// partition cuts a server off for a while.
func (r *replicated) partition(i int, cut bool, during func()) {
	r.broken("partition "+r.cluster.nodes[i].name, func() { r.cluster.isolate(i, cut); during() }, r.cluster.rejoin)
}

// killGateway kills a gateway, and starts it again after a while.
func (r *replicated) killGateway(i int, after time.Duration) {
	g := r.gateways[i]
	r.did["gateway"]++
	g.kill()
	r.pause(after)
	if !g.start() {
		r.Fatalf("%s does not start again", g.name)
	}
	r.flows()
}

// restartGateway restarts a gateway in order.
func (r *replicated) restartGateway(i int) {
	g := r.gateways[i]
	r.did["SIGTERM"]++
	g.terminate()
	if !g.start() {
		r.Fatalf("%s does not start again", g.name)
	}
}

// strand silences the connection of a gateway.
func (r *replicated) strand(i int) {
	r.broken("strand "+r.gateways[i].name, func() {
		for _, p := range r.paths[i] {
			p.Strand()
		}
	}, func() {})
}

// cut resets the connection of a gateway, again and again.
func (r *replicated) cut(i, times int) {
	r.broken("cut "+r.gateways[i].name, func() {
		for range times {
			for _, p := range r.paths[i] {
				p.Cut()
			}
			r.pause(50 * time.Millisecond)
		}
	}, func() {})
}

// stepDown changes all leaders.
func (r *replicated) stepDown() {
	r.Helper()
	const what = "step-down of all leaders"
	r.breaks(r.election(what), what, func() {
		if n := r.cluster.stepDown(r.js); n == 0 {
			r.Error("no leader stepped down")
		}
	}, func() {})
}

// Three servers with replicated streams and three gateways, under load. Servers
// are killed, cut off and restarted, leaders step down, gateways are killed and
// restarted, each in its turn; then by lot, for as long as `make chaos` says.
// Nothing is lost, and what is repeated has a reason.
func TestCluster(t *testing.T) {
	t.Parallel()
	rate, err := strconv.Atoi(cmp.Or(os.Getenv(soakRate), "100"))
	if err != nil {
		t.Fatalf("%s: %v", soakRate, err)
	}
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv(soakSeed), strconv.FormatInt(time.Now().Unix(), 10)), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", soakSeed, err)
	}
	minutes, err := strconv.ParseFloat(cmp.Or(os.Getenv(soakMinutes), "0"), 64)
	if err != nil {
		t.Fatalf("%s: %v", soakMinutes, err)
	}
	r, stop := newReplicated(t, seed, rate)
	names := wire.NewNames(wire.DefaultPrefix)

	stored := r.gather()
	r.killNode(r.cluster.leader(r.js, names.DeliveriesStream()), 0)
	// The server of a gateway is cut off until that has gone to another one.
	cutOff := r.connectedTo(0)
	r.partition(cutOff, false, func() {
		r.until("the gateway has left the server", func() bool { return r.connectedTo(0) != cutOff && r.gateways[0].readyz() == "" })
	})
	r.release(stored)
	r.killGateway(1, 0)
	r.rolling()
	for i := range gateways {
		r.restartGateway(i)
	}
	if minutes > 0 {
		t.Logf("seed %d, %v minutes, %d events a second", seed, minutes, rate)
		began, length := time.Now(), time.Duration(minutes*float64(time.Minute))
		for time.Since(began) < length/3 && !t.Failed() {
			r.rolling()
		}
		r.byLot(rand.New(rand.NewPCG(seed, 2)), began.Add(length))
	}
	stop()
	report := r.settle()
	t.Logf("faults: %v", r.did)
	if report.Accepted == 0 || report.Dead+report.DeadToo == 0 {
		t.Errorf("too little happened: %s", &report)
	}
}

// rolling restarts one server after the other. Matching goes from gateway to
// gateway then while leaders are elected, which is what order has to survive.
func (r *replicated) rolling() {
	for i := range nodes {
		r.restartNode(i)
	}
}

// byLot breaks things by lot until a time.
func (r *replicated) byLot(rng *rand.Rand, end time.Time) {
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(rng.Int64N(int64(to-from))) }
	for time.Now().Before(end) && !r.Failed() {
		r.pause(between(0, 500*time.Millisecond))
		node, g := rng.IntN(nodes), rng.IntN(gateways)
		switch lot := rng.IntN(100); {
		case lot < 30:
			r.killNode(node, between(0, 4*time.Second))
		case lot < 45:
			r.partition(node, lot%2 == 0, func() { r.pause(between(0, 12*time.Second)) })
		case lot < 75:
			r.killGateway(g, between(0, time.Second))
		case lot < 82:
			r.restartNode(node)
		case lot < 90:
			r.restartGateway(g)
		case lot < 92:
			r.stepDown()
		case lot < 93:
			r.release(r.gather())
		case lot < 95:
			r.strand(g)
		case lot < 98:
			r.cut(g, 5)
		default:
			// Both at once.
			r.killNode(node, 0)
			r.killGateway(g, 0)
		}
	}
}

// connectedTo returns which node a gateway is connected to, -1 for none.
func (r *replicated) connectedTo(gateway int) int {
	for i, p := range r.paths[gateway] {
		if p.Connections() > 0 {
			return i
		}
	}
	return -1
}
