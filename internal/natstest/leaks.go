package natstest

import "go.uber.org/goleak"

// Leaks are the options for goleak where a NATS server ran in the test process:
// loops of the server's file stores may outlive its shutdown, above all those of
// atomic batches that were begun and never committed.
func Leaks() []goleak.Option {
	const server = "github.com/nats-io/nats-server/v2/server"
	return []goleak.Option{
		goleak.IgnoreAnyFunction(server + ".(*msgBlock).flushLoop"),
		goleak.IgnoreAnyFunction(server + ".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction(server + "/ats.Register.func1"), // the clock of those stores
	}
}
