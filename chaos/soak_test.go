package chaos

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"fanjet/internal/ledger"
)

// Settings of the soak; `make chaos` sets them. Without, it is as short as it can
// be: long enough to prove that it works.
const (
	soakMinutes    = "CHAOS_MINUTES"    // how long things are broken
	soakSeed       = "CHAOS_SEED"       // of everything that is drawn by lot
	soakDurability = "CHAOS_DURABILITY" // fsync, or a sync interval
	soakRate       = "CHAOS_RATE"       // events a second
	soakDirect     = "CHAOS_DIRECT"     // direct delivery: on or off; empty: as the seed draws
)

// drawDirect decides whether a run that goes by a seed delivers directly.
func (w *world) drawDirect(seed uint64) {
	w.Helper()
	switch how := os.Getenv(soakDirect); how {
	case "":
		w.direct = rand.New(rand.NewPCG(seed, 5)).IntN(2) == 0
	case "on", "off":
		w.direct = how == "on"
	default:
		w.Fatalf("%s: %q is neither on nor off", soakDirect, how)
	}
	w.about = fmt.Sprintf("seed %d, direct delivery %t", seed, w.direct)
	w.Log(w.about)
}

// Under load the gateway is killed, stopped, ended and started again, by lot.
// Nothing is lost, and what is repeated has a reason.
func TestSoak(t *testing.T) {
	t.Parallel()
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv(soakSeed), strconv.FormatInt(time.Now().Unix(), 10)), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", soakSeed, err)
	}
	minutes, err := strconv.ParseFloat(cmp.Or(os.Getenv(soakMinutes), "0.05"), 64)
	if err != nil {
		t.Fatalf("%s: %v", soakMinutes, err)
	}
	rate, err := strconv.Atoi(cmp.Or(os.Getenv(soakRate), "200"))
	if err != nil {
		t.Fatalf("%s: %v", soakRate, err)
	}
	durability := cmp.Or(os.Getenv(soakDurability), "fsync")
	t.Logf("seed %d, %v minutes, %d events a second, durability %s", seed, minutes, rate, durability)

	w := newWorld(t)
	w.drawDirect(seed)
	g := w.everything(durability, "100/s")
	w.hooks.set("steady", wavering(seed))
	g.start()
	s := soak{world: w, g: g, rng: rand.New(rand.NewPCG(seed, 1)), did: map[string]int{}}
	p := w.newProducer(g.url, everythingKind)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() { p.produce(ctx, rate) })
	w.until("deliveries flow", func() bool { return w.hooks.count("steady") > 20 })

	for end := time.Now().Add(time.Duration(minutes * float64(time.Minute))); time.Now().Before(end) && !t.Failed(); {
		s.step()
	}
	stop()
	load.Wait()
	report := w.settle()
	t.Logf("seed %d: %v", seed, s.did)
	if report.Accepted == 0 || len(s.did) == 0 {
		t.Errorf("nothing happened: %v", s.did)
	}
	if report.Dead+report.DeadToo == 0 {
		t.Error("nothing was dead-lettered")
	}
}

// soak breaks things by lot.
type soak struct {
	*world
	g   *gateway
	rng *rand.Rand
	did map[string]int // how often
}

// between draws a time.
func (s *soak) between(from, to time.Duration) time.Duration {
	return from + time.Duration(s.rng.Int64N(int64(to-from)))
}

// step lets the gateway work for a while, breaks something, and heals it.
func (s *soak) step() {
	s.pause(s.between(50*time.Millisecond, 1500*time.Millisecond))
	switch lot := s.rng.IntN(100); {
	case lot < 65:
		s.did["kill -9"]++
		s.g.kill()
	case lot < 75:
		s.did["SIGTERM"]++
		s.g.terminate()
	case lot < 85:
		s.did["SIGSTOP"]++
		s.g.stopped(s.between(50*time.Millisecond, 2*time.Second))
		return
	case lot < 90:
		s.did["replay"]++
		s.replay()
		return
	default:
		// Killed, and then once more while it starts.
		s.did["kill -9 twice"]++
		s.g.kill()
		s.g.launch()
		s.pause(s.between(0, 500*time.Millisecond))
		s.g.kill()
	}
	s.pause(s.between(0, 500*time.Millisecond))
	if !s.g.start() {
		s.Fatal("the gateway does not start again")
	}
}

// replay replays some dead letters, which die again.
func (s *soak) replay() {
	letters, err := s.g.list("--endpoint", "dying", "--limit", strconv.Itoa(1+s.rng.IntN(20)))
	for _, letter := range letters {
		s.ledger.Replayed(letter, time.Now())
	}
	if err == nil && len(letters) > 0 {
		limit := strconv.Itoa(len(letters)) // there may be more by now
		_, err = s.g.run(nil, "dlq", "replay", "--endpoint", "dying", "--limit", limit, "--yes")
	}
	if err != nil {
		s.did["replay without success"]++ // the machine may be too busy
	}
}

// wavering mostly accepts at once, and now and then is slow, refuses, or says
// nothing.
func wavering(seed uint64) behaviour {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 2))
	return func(a arrival) int {
		mu.Lock()
		lot := rng.IntN(1000)
		mu.Unlock()
		switch {
		case lot < 5:
			return slow(200 * time.Millisecond)(a)
		case lot < 7:
			return http.StatusBadGateway
		case lot < 8:
			return 0
		}
		return http.StatusOK
	}
}

// The receiver may still be at work for a process that is dead when the next one
// sends the same delivery: that is the one way in which two requests of a
// delivery meet, and the ledger knows its reason.
func TestKillOverlapsAtTheReceiver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGateway("gateway", w.embedded("fsync"), `
endpoints: {deaf: {url: "http://HOOK/deaf"}}
subscriptions: [{name: all, subjects: ["events.>"], endpoints: [deaf]}]
`)
	// It does not notice that the other side hung up.
	release := make(chan struct{})
	w.hooks.set("deaf", func(a arrival) int {
		if a.number == 1 {
			<-release
		}
		return http.StatusOK
	})
	g.start()
	p := w.newProducer(g.url, func(int) kind { return kind{subject: "events.x", endpoints: []string{"deaf"}} })
	p.publish(1)
	w.until("the first request has arrived", func() bool { return w.hooks.count("deaf") == 1 })
	g.kill()
	g.start()
	w.until("it was sent again", func() bool { return w.hooks.count("deaf") == 2 })
	close(release)
	report := w.settle()
	if got := fmt.Sprint(report.Explained); got != fmt.Sprint(map[ledger.Kind]int{ledger.Overlap: 1, ledger.Repeat: 1}) {
		t.Errorf("the faults explain %s", got)
	}
}
