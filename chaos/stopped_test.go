package chaos

import (
	"cmp"
	"context"
	"encoding/pem"
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
