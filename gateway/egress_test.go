package gateway

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/gateway/match"
	"fanjet/internal/control"
	"fanjet/subscriber"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

// resolving runs the world's gateway with a resolver of its own.
func (w *world) resolving(addresses map[string][]string) {
	w.Helper()
	gw, err := New(Options{Config: w.cfg, Log: zaptest.NewLogger(w.T, zaptest.Level(zap.ErrorLevel)), Registry: prometheus.NewRegistry(), Grace: 5 * time.Second})
	if err != nil {
		w.Fatal(err)
	}
	gw.adjust = func(o *subscriber.Options) {
		o.Guard.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
			var out []netip.Addr
			for _, text := range addresses[host] {
				out = append(out, netip.MustParseAddr(text))
			}
			return out, nil
		}
	}
	w.gw, w.stop = gw, w.launch(gw)
}

// at returns endpoints with these URLs, and a subscription of all of them to all
// events. Their retries take hours.
func (w *world) at(urls map[string]string) {
	w.Helper()
	w.cfg.Endpoints, w.cfg.Subscriptions = nil, nil
	all := match.Subscription{Name: "all", Subjects: []string{"events.>"}}
	for name, text := range urls {
		target, err := url.Parse(text)
		if err != nil {
			w.Fatal(err)
		}
		w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(w, w.hook, name, func(e *endpoint.Settings) {
			e.URL, e.Retry.Schedule = target, []time.Duration{time.Hour, 24 * time.Hour}
		}))
		all.Endpoints = append(all.Endpoints, name)
	}
	w.cfg.Subscriptions = append(w.cfg.Subscriptions, all)
}

// counted is a receiver at an address that counts the connections to it.
func (w *world) counted(address string, secure, http2 bool) (server *httptest.Server, opened, closed *atomic.Int32) {
	w.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		w.Fatal(err)
	}
	opened, closed = new(atomic.Int32), new(atomic.Int32)
	server = httptest.NewUnstartedServer(w.hook)
	_ = server.Listener.Close()
	server.Listener, server.EnableHTTP2 = l, http2
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			closed.Add(1)
		}
	}
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	w.Cleanup(server.Close)
	return server, opened, closed
}

// Events for endpoints inside of the network become dead letters at once, and
// nothing at all is sent there; whatever else the events go to gets them.
func TestBlockedDestinations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inside, reached, _ := w.counted("127.0.0.1:0", false, false)
	_, port, _ := net.SplitHostPort(inside.Listener.Addr().String())
	w.counted("127.0.0.2:"+port, false, false)
	w.cfg.Egress.AllowCIDRs = []egress.AllowedNet{{Prefix: netip.MustParsePrefix("127.0.0.2/32")}}
	blocked := map[string]string{
		"address":  "http://127.0.0.1:" + port,
		"mapped":   "http://[::ffff:127.0.0.1]:" + port,
		"name":     "http://inside.example:" + port,
		"names":    "http://several.example:" + port,
		"metadata": "http://metadata.example",
		"any":      "http://any.example:" + port,
		"mixed":    "http://mixed.example:" + port + "/mixed",
	}
	w.at(blocked)
	delete(blocked, "mixed")
	w.resolving(map[string][]string{
		"inside.example":   {"127.0.0.1"},
		"several.example":  {"127.0.0.1", "::1", "::ffff:127.0.0.1"},
		"metadata.example": {"169.254.169.254", "fd00:ec2::254"},
		"any.example":      {"0.0.0.0", "::"},
		"mixed.example":    {"127.0.0.1", "127.0.0.2", "10.0.0.1"},
	})
	const events = 12 // more than open a circuit
	w.publishMany("events.x", events)
	letters := w.letters(events * len(blocked))
	for _, l := range letters {
		if blocked[l.Endpoint] == "" || l.Reason != dlq.ReasonBlockedDestination || !strings.Contains(l.LastError, "blocked by the egress policy") {
			t.Errorf("a letter of %s: %s, %q", l.Endpoint, l.Reason, l.LastError)
		}
	}
	w.delivered("mixed", events)
	w.quiet()
	if len(letters) != events*len(blocked) || len(w.hook.all()) != events {
		t.Errorf("%d letters, want %d; %d requests, want %d", len(letters), events*len(blocked), len(w.hook.all()), events)
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d connections to %s, want none", n, inside.URL)
	}
	// A circuit would hold back what must be dead-lettered at once.
	reports, _, err := control.Statuses(t.Context(), w.nats.Conn(), w.gw.names)
	if err != nil || len(reports) != 1 {
		t.Fatalf("Statuses = %v, %v", reports, err)
	}
	for _, status := range reports[0].Statuses {
		if status.State != endpoint.StateHealthy {
			t.Errorf("%s is %s: %s", status.Endpoint, status.State, status.Reason)
		}
	}
	// A ping obeys, too, and says why.
	answer, err := control.Ping(t.Context(), w.nats.Conn(), w.gw.names, "name", 10*time.Second)
	if err != nil || answer.Class != outcome.ClassBlocked || !strings.Contains(answer.Error, "127.0.0.1 is not a public address") {
		t.Errorf("Ping = %+v, %v", answer, err)
	}
}

// No range of allow_cidrs opens what Fanjet itself listens at, nor NATS, under
// whatever name.
func TestOwnListenersAreNoDestinations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Admin.Listen = freeAddress(t)
	nats, err := url.Parse(w.nats.URL())
	if err != nil {
		t.Fatal(err)
	}
	_, admin, _ := net.SplitHostPort(w.cfg.Admin.Listen)
	w.cfg.Egress.AllowCIDRs = []egress.AllowedNet{{Prefix: netip.MustParsePrefix("0.0.0.0/0")}, {Prefix: netip.MustParsePrefix("::/0")}}
	urls := map[string]string{
		"admin": "http://127.0.0.1:" + admin, "admin-name": "http://self.example:" + admin, "admin-any": "http://any.example:" + admin,
		"nats": "http://127.0.0.1:" + nats.Port(), "nats-name": "http://self.example:" + nats.Port(), "nats-other": "http://127.0.0.9:" + nats.Port(),
	}
	w.at(urls)
	w.resolving(map[string][]string{"self.example": {"127.0.0.1"}, "any.example": {"0.0.0.0"}})
	w.publish("events.x", "{}", nil)
	for _, l := range w.letters(len(urls)) {
		if l.Reason != dlq.ReasonBlockedDestination {
			t.Errorf("a letter of %s: %s, %q", l.Endpoint, l.Reason, l.LastError)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// trustVariable marks the process that TestReloadTightensEgress starts: one that
// trusts the certificate of the receivers, for which there is no setting.
const trustVariable = "FANJET_TEST_TRUSTING"

// A reload that tightens the policy closes the connections that are kept, and
// nothing more is sent to what is forbidden now, over no connection.
func TestReloadTightensEgress(t *testing.T) {
	if os.Getenv(trustVariable) == "" {
		t.Parallel()
		trusted := httptest.NewTLSServer(nil)
		defer trusted.Close()
		file := filepath.Join(t.TempDir(), "roots.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.Certificate().Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestReloadTightensEgress$")
		cmd.Env = append(os.Environ(), trustVariable+"=1", "SSL_CERT_FILE="+file)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	w := newWorld(t)
	plain, plainOpened, plainClosed := w.counted("127.0.0.2:0", false, false)
	one, oneOpened, oneClosed := w.counted("127.0.0.2:0", true, false)
	two, twoOpened, twoClosed := w.counted("127.0.0.2:0", true, true)
	port := func(s *httptest.Server) string { return portOf(s.Listener.Addr()) }
	w.at(map[string]string{
		"plain": "http://www.example.com:" + port(plain) + "/plain",
		"one":   "https://www.example.com:" + port(one) + "/one",
		"two":   "https://www.example.com:" + port(two) + "/two",
	})
	w.resolving(map[string][]string{"www.example.com": {"127.0.0.2"}})
	names := []string{"plain", "one", "two"}
	w.publish("events.x", "{}", nil)
	for _, name := range names {
		w.delivered(name, 1)
	}
	// One request of each is under way when the rules change; it is delivered.
	releases := []func(){w.hook.block("plain"), w.hook.block("one"), w.hook.block("two")}
	w.publish("events.x", "{}", nil)
	w.waitFor("a second request is under way everywhere", func() bool { return len(w.hook.all()) == 2*len(names) })

	tight := w.version(w.cfg.Endpoints, w.cfg.Subscriptions)
	tight.Egress.AllowCIDRs = []egress.AllowedNet{{Prefix: netip.MustParsePrefix("127.0.0.1/32")}}
	w.reload(tight)
	w.publish("events.x", "{}", nil)
	for _, l := range w.letters(len(names)) {
		if l.Reason != dlq.ReasonBlockedDestination {
			t.Errorf("a letter of %s: %s, %q", l.Endpoint, l.Reason, l.LastError)
		}
	}
	for _, release := range releases {
		release()
	}
	for _, name := range names {
		w.delivered(name, 2)
	}
	w.waitFor("all connections are closed", func() bool {
		return plainClosed.Load() == plainOpened.Load() && oneClosed.Load() == oneOpened.Load() && twoClosed.Load() == twoOpened.Load()
	})
	w.quiet()
	if n := len(w.hook.all()); n != 2*len(names) {
		t.Errorf("%d requests, want %d: none after the reload", n, 2*len(names))
	}
	if a, b, c := plainOpened.Load(), oneOpened.Load(), twoOpened.Load(); a != 1 || b != 1 || c != 1 {
		t.Errorf("%d, %d and %d connections, want one each", a, b, c)
	}
}

func portOf(a net.Addr) string { _, port, _ := net.SplitHostPort(a.String()); return port }
