package broker

import (
	"context"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

const (
	firstWait   = 250 * time.Millisecond
	maxWait     = 5 * time.Second
	waitJitter  = 0.2
	repeatAfter = 30 * time.Second
)

// Wait calls attempt until it succeeds, and returns nil; until it fails with an
// error that transient does not accept, and returns that; or until ctx ends,
// and returns the error of ctx. Between attempts it waits 250 ms, then twice
// as long each time up to 5 s, ± 20 %. Faults are logged once for each change
// of the error and every 30 s, with what as the subject of the sentence.
func Wait(ctx context.Context, log *zap.Logger, what string, transient func(error) bool, attempt func(context.Context) error) error {
	fault := newFaultLog(log)
	began := time.Now()
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		err := attempt(ctx)
		if err == nil {
			if fault.clear() {
				log.Info(what+" answers", zap.Duration("waited", time.Since(began)))
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !transient(err) {
			return err
		}
		fault.report("waiting for "+what, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jitter(wait)):
		}
	}
}

func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 + waitJitter*(2*rand.Float64()-1)))
}

// faultLog logs a lasting fault without flooding the log: when it changes, and
// again after repeatAfter. It is not safe for concurrent use.
type faultLog struct {
	log  *zap.Logger
	last string // text of the error that was logged last; empty: no fault
	at   time.Time
}

func newFaultLog(log *zap.Logger) *faultLog { return &faultLog{log: log} }

func (f *faultLog) report(message string, err error) {
	if err.Error() == f.last && time.Since(f.at) < repeatAfter {
		return
	}
	f.last, f.at = err.Error(), time.Now()
	f.log.Warn(message, zap.Error(err))
}

// clear ends the fault and reports whether there was one.
func (f *faultLog) clear() bool {
	had := f.last != ""
	f.last = ""
	return had
}
