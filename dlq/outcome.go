package dlq

import (
	"sync"
	"time"
)

// Progress says how far an operation is.
type Progress struct {
	Done    int // letters replayed, purged or exported
	Skipped int // gone when they were to be removed: another replay or purge was faster
	Failed  int // letters that stay, see Outcome.Failures

	// Waiting says why NATS takes nothing at the moment; nil when it does.
	Waiting error
}

// Failure is a letter that stays in the queue, and why.
type Failure struct {
	Seq      uint64
	Endpoint string
	Err      error
}

// maxFailures bounds Outcome.Failures.
const maxFailures = 100

// Outcome is how an operation ended.
type Outcome struct {
	Done     int       // letters replayed, purged or exported
	Skipped  int       // gone when they were to be removed: another replay or purge was faster
	Failed   int       // letters that stay
	Failures []Failure // the first 100 of them
}

// tally counts what became of letters. Its methods may be called concurrently.
type tally struct {
	mu      sync.Mutex
	outcome Outcome
}

func (t *tally) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outcome.Done++
}

func (t *tally) skipped() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outcome.Skipped++
}

// replayed counts letters that were skipped as done.
func (t *tally) replayed(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outcome.Skipped -= n
	t.outcome.Done += n
}

func (t *tally) failed(seq uint64, endpoint string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outcome.Failed++
	if len(t.outcome.Failures) < maxFailures {
		t.outcome.Failures = append(t.outcome.Failures, Failure{Seq: seq, Endpoint: endpoint, Err: err})
	}
}

func (t *tally) result() Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.outcome
}

// progressEvery is how often an operation reports its progress.
const progressEvery = 200 * time.Millisecond

// report calls progress regularly, from one goroutine, until the returned
// function is called; that one makes a last report. waiting may be nil.
func (t *tally) report(progress func(Progress), waiting func() error) (stop func()) {
	if progress == nil {
		return func() {}
	}
	now := func() Progress {
		r := t.result()
		p := Progress{Done: r.Done, Skipped: r.Skipped, Failed: r.Failed}
		if waiting != nil {
			p.Waiting = waiting()
		}
		return p
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				progress(now())
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
		p := now()
		p.Waiting = nil
		progress(p)
	}
}
