package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/pem"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// stops is how often TestStoppedBurnsNothing stops the gateway.
const stops = "CHAOS_STOPS"

// A gateway is stopped, again and again, for longer than its attempts may take,
// while its receivers answer. What they answered counts, and no attempt is used up:
// not over HTTP/1.1, and not over HTTP/2.
//
// Promise 4: a process that stands still burns no attempt.
func TestStoppedBurnsNothing(t *testing.T) {
	t.Parallel()
	times, err := strconv.Atoi(cmp.Or(os.Getenv(stops), "4"))
	if err != nil {
		t.Fatalf("%s: %v", stops, err)
	}
	const timeout = 2 * time.Second
	w := newWorld(t)
	secure := httptest.NewUnstartedServer(w.hooks)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	roots := filepath.Join(w.dir, "roots.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(roots, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	var burned atomic.Int64
	answer := slow(timeout / 8)
	for _, endpoint := range []string{"plain", "secure"} {
		w.hooks.set(endpoint, func(a arrival) int {
			if a.attempt > 1 {
				burned.Add(1)
			}
			return answer(a)
		})
	}
	g := w.newGateway("gateway", w.embedded("fsync"), strings.ReplaceAll(`
endpoints:
  plain: {url: "http://HOOK/plain", timeout: TIMEOUT, max_in_flight: 8, circuit: {failures: 3, probe: 100ms}, retry: {schedule: [100ms, 100ms, 100ms]}}
  secure: {url: "https://`+secure.Listener.Addr().String()+`/secure", timeout: TIMEOUT, max_in_flight: 8, circuit: {failures: 3, probe: 100ms}, retry: {schedule: [100ms, 100ms, 100ms]}}
subscriptions: [{name: all, subjects: ["events.>"], endpoints: [plain, secure]}]
`, "TIMEOUT", timeout.String()))
	g.start("SSL_CERT_FILE=" + roots)
	p := w.newProducer(g.url, func(int) kind { return kind{subject: "events.x", endpoints: []string{"plain", "secure"}} })
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() { p.produce(ctx, 50) })
	for range times {
		at, secured := w.hooks.count("plain"), w.hooks.count("secure")
		w.until("deliveries flow", func() bool { return w.hooks.count("plain") > at+8 && w.hooks.count("secure") > secured+8 })
		fault := w.fault("SIGSTOP "+g.name, timeout)
		g.signal(syscall.SIGSTOP)
		w.pause(timeout * 5 / 4)
		g.signal(syscall.SIGCONT)
		w.pause(stopGrace)
		w.healed(fault)
	}
	stop()
	load.Wait()
	report := w.settle()
	if report.Accepted == 0 || w.hooks.count("plain") == 0 || w.hooks.count("secure") == 0 {
		t.Error("nothing happened")
	}
	if n := burned.Load(); n > 0 {
		t.Errorf("%d attempts were used up by %d stops", n, times)
	}
}

// A gateway is stopped for longer than NATS waits for it. What it held goes to the
// other one, which delivers it. When it goes on, it does not begin what is not its
// own any more.
func TestStoppedBeginsNothingOfOthers(t *testing.T) {
	t.Parallel()
	const events, places = 60, 2
	w := newWorld(t)
	yaml := `
endpoints: {hook: {url: "http://HOOK/hook", timeout: 5m, max_in_flight: 2}}
subscriptions: [{name: all, subjects: ["events.>"], endpoints: [hook]}]
`
	release := w.hooks.hold("hook")
	first := w.newGateway("first", w.embedded("fsync"), yaml)
	first.start()
	second := w.newGateway("second", `{url: "`+first.url()+`", credentials: data/operator.nk}`, yaml)
	second.start()
	p := w.newProducer(first.url, func(int) kind { return kind{subject: "events.x", endpoints: []string{"hook"}} })
	p.publish(events)
	w.until("both make attempts", func() bool { return w.hooks.count("hook") == 2*places })
	w.until("both hold more", func() bool { return first.leastHeld("hook", 2) > places })
	fault := w.fault("SIGSTOP "+second.name, 0)
	second.signal(syscall.SIGSTOP)
	release()
	w.quiet(first.url())
	before := w.hooks.count("hook")
	second.signal(syscall.SIGCONT)
	w.until("it goes on", func() bool { return second.readyz() == "" })
	w.healed(fault)
	second.terminate() // before the one with the server
	w.settle()
	if n := w.hooks.count("hook"); n != before || before > events+places {
		t.Errorf("%d requests for %d events, and %d more when it went on", before, events, n-before)
	}
}

// leastHeld is how many deliveries to an endpoint wait in the memory of the gateway
// that holds the fewest, of so many gateways; 0: they are not as many.
func (g *gateway) leastHeld(endpoint string, gateways int) int {
	out, err := g.run(nil, "endpoints", "show", endpoint, "-o", "json")
	var shown struct {
		Replicas []struct {
			Status struct {
				Held int `json:"held"`
			} `json:"status"`
		} `json:"replicas"`
	}
	if err != nil || json.Unmarshal(out, &shown) != nil || len(shown.Replicas) != gateways {
		return 0
	}
	least := math.MaxInt
	for _, r := range shown.Replicas {
		least = min(least, r.Status.Held)
	}
	return least
}
