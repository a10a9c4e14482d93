package gateway

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/control"
	"fanjet/internal/wire"
	"fanjet/subscriber"
)

// Who shares work with another gateway counts on it for four seconds, so that an older
// one, which says only every three that it lives, counts all the time; operators count
// on it for ten. One that ends counts no more at once.
func TestOthersLive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPresence(nil, wire.NewNames(""), control.Replica{ID: "self"})
		hear := func(a control.Alive) {
			t.Helper()
			data, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			p.hear(&nats.Msg{Data: data})
		}
		check := func(what string, live bool, known int) {
			t.Helper()
			if got := p.othersLive(); got != live || len(p.known()) != known {
				t.Errorf("%s: others live: %v, want %v; %d are known, want %d", what, got, live, len(p.known()), known)
			}
		}
		a, b := control.Peer{ID: "a"}, control.Peer{ID: "b"}
		check("alone", false, 1)
		hear(control.Alive{Peer: control.Peer{ID: "self"}})
		check("heard itself", false, 1)
		for range 3 {
			hear(control.Alive{Peer: a})
			check("a lives", true, 2)
			<-time.After(3*time.Second + 500*time.Millisecond)
			check("an older one lives", true, 2)
		}
		<-time.After(500 * time.Millisecond)
		check("a was not heard for four seconds", false, 2)
		hear(control.Alive{Peer: b})
		check("b lives", true, 3)
		hear(control.Alive{Peer: b, Ends: true})
		check("b ended", false, 2)
		<-time.After(7 * time.Second)
		check("a was not heard for ten seconds", false, 1)
	})
}

// The dispatcher hears of other gateways: while one runs, and no more when it has ended.
func TestDispatcherHearsOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked := make(chan func() bool, 1)
	w.observed(func(o *subscriber.Options) { asked <- o.OthersLive })
	othersLive := <-asked
	if othersLive() {
		t.Error("it is not alone")
	}
	_, stop := w.run(5 * time.Second)
	w.waitFor("it hears of the other one", othersLive)
	stop()
	w.waitFor("the other one ended", func() bool { return !othersLive() })
}
