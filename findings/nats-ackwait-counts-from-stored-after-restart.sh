#!/bin/sh
# package: github.com/nats-io/nats-server/v2 v2.15.3 with github.com/nats-io/nats.go v1.55.0 (Go modules)
#
# The guess: AckWait is how long a client has from the delivery of a message until it is
# delivered again. The consumer's state is on disk and replicated, so that an orderly
# restart of the server, or another leader, goes on where the old one was: a message that
# was delivered a second ago is not delivered again before its AckWait is over.
#
# The behaviour: what is written down with a delivery is the time when the message was
# *stored*, not when it was delivered. After a restart (and after each election, with
# replicas) all that is older than AckWait is delivered again at once, to anybody,
# however short its client has had it. Only a delivery that was reported in progress (+WPI)
# is spared: that writes the present time down.
#
# Why it matters: a backlog that is older than AckWait, the usual thing after an outage,
# is worked on twice at once whenever a server is restarted or a leader changes, although
# nobody was killed and nobody was slow. A worker has to report old messages in progress
# as it receives them.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat > go.mod <<'MOD'
module stored
go 1.26
MOD
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	ackWait = 10 * time.Second
	many    = 20
)

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(2)
	}
}

func start(port int) *server.Server {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: os.Args[1], NoLog: true, NoSigs: true})
	check(err)
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		check(fmt.Errorf("the server is not ready"))
	}
	return s
}

// again delivers old messages to one client, restarts the server, and returns how many
// another client gets within two seconds.
func again(ctx context.Context, js jetstream.JetStream, name string, restart func(), report bool) (n int) {
	c, err := js.Consumer(ctx, "S", name)
	check(err)
	batch, err := c.Fetch(many, jetstream.FetchMaxWait(5*time.Second))
	check(err)
	got := 0
	for m := range batch.Messages() {
		got++
		if report {
			check(m.InProgress())
		}
	}
	if got != many {
		check(fmt.Errorf("%d of %d were delivered", got, many))
	}
	check(js.Conn().Flush())
	restart()
	for { // until the connection is back
		if _, err := js.Consumer(ctx, "S", name); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	batch, err = c.Fetch(many, jetstream.FetchMaxWait(2*time.Second))
	check(err)
	for range batch.Messages() {
		n++
	}
	return n
}

func main() {
	s := start(-1)
	port := s.Addr().(interface{ String() string }).String()
	var p int
	_, err := fmt.Sscanf(port, "127.0.0.1:%d", &p)
	check(err)
	ctx := context.Background()
	nc, err := nats.Connect("nats://"+port, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	check(err)
	js, err := jetstream.New(nc)
	check(err)
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	check(err)
	for _, name := range []string{"silent", "reporting"} {
		_, err = js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait})
		check(err)
	}
	for range many {
		_, err = js.Publish(ctx, "s", nil)
		check(err)
	}
	time.Sleep(ackWait + time.Second)
	restart := func() { s.Shutdown(); s.WaitForShutdown(); s = start(p) }
	began := time.Now()
	silent := again(ctx, js, "silent", restart, false)
	took := time.Since(began).Round(100 * time.Millisecond)
	reporting := again(ctx, js, "reporting", restart, true)
	fmt.Printf("AckWait %v; messages stored %v before they were delivered\n", ackWait, ackWait+time.Second)
	fmt.Printf("without a report: %d of %d delivered again within %v of their delivery\n", silent, many, took)
	fmt.Printf("reported in progress once, at once: %d of %d\n", reporting, many)
	s.Shutdown()
	if silent != many || reporting != 0 || took >= ackWait {
		fmt.Println("not as stated")
		os.Exit(1)
	}
}
GO
go get github.com/nats-io/nats-server/v2@v2.15.3 github.com/nats-io/nats.go@v1.55.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run . "$dir/store"
