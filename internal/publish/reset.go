package publish

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
)

// errReset ends the wait for an acknowledgement when the connection was lost:
// a commit that is in flight when its server dies never gets an answer.
var errReset = errors.New("connection to NATS lost while waiting for an acknowledgement")

// resetWatch ends contexts when the connection is lost.
type resetWatch struct {
	nc     *nats.Conn
	status chan nats.Status
	done   chan struct{}

	mu     sync.Mutex
	cancel context.CancelCauseFunc // of the wait in progress
}

func watchResets(nc *nats.Conn) *resetWatch {
	w := &resetWatch{
		nc:     nc,
		status: nc.StatusChanged(nats.RECONNECTING, nats.CLOSED),
		done:   make(chan struct{}),
	}
	go w.run()
	return w
}

func (w *resetWatch) run() {
	defer close(w.done)
	for range w.status {
		w.mu.Lock()
		if w.cancel != nil {
			w.cancel(errReset)
		}
		w.mu.Unlock()
	}
}

func (w *resetWatch) stop() {
	w.nc.RemoveStatusListener(w.status)
	<-w.done
}

// context returns one that ends with parent, or when the connection is lost.
// One at a time.
func (w *resetWatch) context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	w.mu.Lock()
	w.cancel = cancel
	w.mu.Unlock()
	return ctx, func() {
		w.mu.Lock()
		w.cancel = nil
		w.mu.Unlock()
		cancel(nil)
	}
}
