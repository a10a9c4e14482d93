// Command bench measures Fanjet beside a bare loop that does the least that a
// signed delivery needs: pull from JetStream, sign, POST, ack.
//
//	go run ./bench                      # drain: 5 pairs for each tier and fan-out
//	go run ./bench drain -pairs 1 -tiers fsync -fanout 1
//	go run ./bench latency
//	go run ./bench isolation
//	go run ./bench scale
//	go run ./bench backlog
//	go run ./bench kill -against /tmp/bench-of-another-checkout
//	go run ./bench all -json bench.json
//	go run ./bench plot -o docs/throughput.svg bench.json
//
// Each measurement has processes of its own: what is measured (with its NATS
// server, unless -replicas asks for a separate one), the receiver, and this
// program, which publishes, watches and counts. Streams are in fresh folders.
// Runs alternate, each pair in the other order, and a ratio is taken within a
// pair, so that a machine whose speed drifts tells the same ratio.
//
// In every mode the receiver checks that each event reached each healthy
// endpoint exactly once. If one did not, the program says so and ends with 1;
// only kill counts what came twice.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// command is one mode of the program.
type command struct {
	name, does string
	run        func(ctx context.Context, args []string) error
}

func commands() []command {
	return []command{
		{"drain", "deliveries a second from a preloaded stream, beside the bare loop (the default)", drainCommand},
		{"latency", "from the PubAck to the receiver, beside the bare loop", latencyCommand},
		{"isolation", "healthy endpoints beside sick ones, against a run without the sick ones", isolationCommand},
		{"scale", "10,000 endpoints, 1,000 active ones, one event to 1,000", scaleCommand},
		{"backlog", "memory and speed while a million deliveries are drained", backlogCommand},
		{"kill", "what a SIGKILL repeats, of the gateway alone and with its NATS server", killCommand},
		{"all", "all of the above, and throughput over endpoints, fan-out, size, replicas", allCommand},
		{"plot", "draw the throughput in JSON files of drain or all as SVG", plotCommand},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case interrupted:
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// errUsage means that the command line was wrong, which has been said.
var errUsage = errors.New("usage")

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == childMode {
		return runChild(args[1:])
	}
	name := "drain"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, args)
		}
	}
	fmt.Fprintf(os.Stderr, "bench: there is no mode %q; the modes are\n", name)
	for _, c := range commands() {
		fmt.Fprintf(os.Stderr, "  %-10s %s\n", c.name, c.does)
	}
	return errUsage
}
