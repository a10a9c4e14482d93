package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A running gateway takes over what changes in its file, by itself and on
// SIGHUP; a file with a mistake changes nothing. Under load nothing is lost or
// doubled.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	steady := `
endpoints:
  steady: {url: "http://HOOK/steady"}
  NEW: {url: "http://HOOK/NEW"}
subscriptions:
  - {name: all, subjects: ["events.>"], endpoints: [steady]}
  - {name: new, subjects: ["events.>"], endpoints: [NEW]}
`
	p := newGatewayProcess(t, l.server.Listener.Addr().String(), strings.ReplaceAll(steady, "NEW", "first"))
	before, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	// As editors and tools do it: a new file in the place of the old one.
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(p.config+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(p.config+".new", p.config); err != nil {
			t.Fatal(err)
		}
	}
	version := func(name string) string { return strings.ReplaceAll(string(before), "first", name) }

	p.start()
	load := startLoad(t, p.url)
	waitUntil(t, "the first endpoint gets events", func() bool { return l.count("first") > 100 })

	write(version("second"))
	waitUntil(t, "the second endpoint gets events", func() bool { return l.count("second") > 100 })

	// With a mistake everything stays as it is.
	write(strings.Replace(version("third"), "endpoints: [third]", "endpoints: [thirdd]", 1))
	waitUntil(t, "the mistake is noticed", func() bool { return p.metric("fanjet_config_reload_success") == "0" })
	second, steadily := l.count("second"), l.count("steady")
	waitUntil(t, "events flow as before", func() bool { return l.count("second") > second+100 && l.count("steady") > steadily+100 })

	write(version("fourth"))
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the fourth endpoint gets events", func() bool { return l.count("fourth") > 100 })
	if got := p.metric("fanjet_config_reload_success"); got != "1" {
		t.Errorf("fanjet_config_reload_success is %s", got)
	}

	n := load.stop()
	// Some deliveries may wait for an endpoint that was removed before they were
	// made. They go out when it is back.
	back := strings.Replace(version("fourth"), "  fourth:", `  first: {url: "http://HOOK/first"}
  second: {url: "http://HOOK/second"}
  fourth:`, 1)
	write(strings.ReplaceAll(back, "HOOK", l.server.Listener.Addr().String()))
	versions := func() int { return l.count("first") + l.count("second") + l.count("fourth") }
	waitUntil(t, "everything has arrived", func() bool { return l.count("steady") == n && versions() >= n })
	p.terminate()
	if got := versions(); got != n {
		t.Errorf("%d events went to %d endpoints of versions, want one each", n, got)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for endpoint, bodies := range l.got {
		for body, times := range bodies {
			if times != 1 {
				t.Errorf("%s came %d times to %s", body, times, endpoint)
			}
		}
	}
	if len(l.got["thirdd"])+len(l.got["third"]) > 0 {
		t.Error("the file with a mistake was used")
	}
	t.Logf("%d events; first %d, second %d, fourth %d", n, len(l.got["first"]), len(l.got["second"]), len(l.got["fourth"]))
}

// eventLoad publishes numbered events until it is stopped.
type eventLoad struct {
	*testing.T
	end, ended chan struct{}
	n          int
}

func startLoad(t *testing.T, url string) *eventLoad {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	l := &eventLoad{T: t, end: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		defer nc.Close()
		for {
			select {
			case <-l.end:
				return
			default:
			}
			if _, err := js.Publish(t.Context(), "events.x", fmt.Appendf(nil, `{"n": %d}`, l.n)); err != nil {
				t.Errorf("publish: %v", err)
				return
			}
			l.n++
		}
	}()
	t.Cleanup(func() { l.stop() })
	return l
}

// stop returns how many events there are.
func (l *eventLoad) stop() int {
	select {
	case <-l.end:
	default:
		close(l.end)
	}
	<-l.ended
	return l.n
}
