package chaos

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"fanjet/internal/ledger"
)

// onePlan is an environment variable: the text of a plan, which TestMetamorphic
// carries out, and no other.
const onePlan = "CHAOS_PLAN"

// variants are how many configurations meet the events and faults of a seed.
const variants = 3

// The same events and the same faults give the same outcome under every
// configuration: who delivers how many at once, in order or not, through lanes or
// not, with which server and how many gateways, decides when an event arrives, and
// not whether. A run that fails is made smaller as long as it fails.
func TestMetamorphic(t *testing.T) {
	t.Parallel()
	if text := os.Getenv(onePlan); text != "" {
		p, err := parsePlan(text)
		if err != nil {
			t.Fatal(err)
		}
		runPlan(t, p)
		return
	}
	minutes, err := strconv.ParseFloat(cmp.Or(os.Getenv(soakMinutes), "0"), 64)
	if err != nil {
		t.Fatalf("%s: %v", soakMinutes, err)
	}
	// Without a time it is short, and always the same.
	seed, seeds := uint64(1), uint64(2)
	if minutes > 0 {
		seed, seeds = uint64(time.Now().Unix()), 1<<32
	}
	if text := os.Getenv(soakSeed); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", soakSeed, err)
		}
	}
	t.Logf("from seed %d, %v minutes", seed, minutes)
	var s sum
	var runs sync.WaitGroup
	places := make(chan struct{}, 6) // more than there are processors: runs mostly wait
	end := time.Now().Add(time.Duration(minutes * float64(time.Minute)))
	for n := range seeds {
		if len(s.failed()) > 0 || minutes > 0 && time.Now().After(end) {
			break
		}
		for variant := range variants {
			p := drawn(seed + n).under(variant)
			places <- struct{}{}
			runs.Go(func() {
				defer func() { <-places }()
				passed := t.Run(fmt.Sprintf("%d-%d", p.seed, variant), func(t *testing.T) { s.count(runPlan(t, p)) })
				s.add(p, passed)
			})
		}
	}
	runs.Wait()
	t.Logf("%s", &s)
	if failed := s.failed(); len(failed) > 0 {
		reduceFailure(t, failed)
	}
}

// sum is what came of all runs.
type sum struct {
	mu                                      sync.Mutex
	runs, events, pairs, requests, repeated int
	dead, faults                            int
	broken                                  []plan
}

func (s *sum) add(p plan, passed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	s.faults += len(p.faults)
	if !passed {
		s.broken = append(s.broken, p)
	}
}

func (s *sum) count(r ledger.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events += r.Accepted
	s.pairs += r.Pairs
	s.dead += r.Dead
	s.requests += r.Requests
	s.repeated += r.Explained[ledger.Repeat]
}

func (s *sum) failed() []plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

func (s *sum) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d runs, %d with another outcome; %d faults, %d events, %d pairs, %d of them dead letters, %d requests, %d repeated for a reason",
		s.runs, len(s.broken), s.faults, s.events, s.pairs, s.dead, s.requests, s.repeated)
}
