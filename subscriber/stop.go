package subscriber

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"
)

// ErrStopping means that a dispatcher takes over nothing any more, because it is
// about to end.
var ErrStopping = errors.New("the gateway is stopping")

// stopEndpoints lets nothing begin any more, and gives back what waits. It waits
// for an Apply that is under way: that one stops the endpoints that it removes.
func (d *Dispatcher) stopEndpoints() {
	d.applying.Lock()
	defer d.applying.Unlock()
	d.stopping = true
	d.direct.on.Store(false)
	for _, ep := range *d.endpoints.Load() {
		for _, waiting := range ep.stop() {
			if x := waiting.msg.direct(); x != nil {
				x.Owner.WriteDown(WhyStopped)
				continue
			}
			waiting.msg.Nak()
		}
	}
}

// settled waits for what waits for a word from NATS, until ctx ends.
func (d *Dispatcher) settled(ctx context.Context) { await(ctx, &d.settling) }

// await waits for all, until ctx ends.
func await(ctx context.Context, all *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// flush makes sure that the acknowledgements have arrived.
func (d *Dispatcher) flush(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(16)
	for _, in := range append(d.fast.intakes(), d.lanes.Unsettled()...) {
		group.Go(func() error { return in.Flush(ctx) })
	}
	return group.Wait()
}
