// Command fanjet fans NATS JetStream events out to webhooks.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(withSignals(context.Background()), os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// withSignals returns a context that ends with the first SIGINT or SIGTERM; SIGHUP is
// for the commands, see [endOnHangup].
// From then on signals do what they do by default, so that a second one ends
// the process at once.
func withSignals(ctx context.Context) context.Context {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx
}
