package jsapi

import (
	"context"

	"github.com/nats-io/nats.go"
)

// WhileConnected returns a context that also ends, with the cause
// [nats.ErrDisconnected], when the connection is lost: what was asked of the
// server then is never answered, and the client would wait for its whole timeout.
// Call cancel when the answer is there.
func WhileConnected(parent context.Context, nc *nats.Conn) (ctx context.Context, cancel context.CancelFunc) {
	ctx, end := context.WithCancelCause(parent)
	lost := nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	go func() {
		if _, ok := <-lost; ok {
			end(nats.ErrDisconnected)
		}
	}()
	return ctx, func() {
		nc.RemoveStatusListener(lost) // also ends the goroutine
		end(nil)
	}
}
