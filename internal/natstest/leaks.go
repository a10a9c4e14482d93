package natstest

import "go.uber.org/goleak"

// Leaks are the options for goleak where a NATS server ran in the test process:
// a flush loop of the server's file store may outlive its shutdown by a moment.
func Leaks() []goleak.Option {
	return []goleak.Option{goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*msgBlock).flushLoop")}
}
