#!/bin/sh
# package: github.com/nats-io/nats-server/v2 v2.15.3 with github.com/nats-io/nats.go v1.55.0 (Go modules)
#
# The guess: a delivery whose AckWait is over is over. The reply subject of an ack
# names the delivery ($JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer
# seq>...), so a -NAK of the first delivery, which comes after the message was handed
# to another client as a second one, is ignored, as one of a settled message is.
#
# The behaviour: the server looks at the stream sequence only. The stale -NAK puts the
# message on the redelivery queue at once, although its present owner holds it and has
# just reported it in progress: a third client gets it in the same moment.
#
# Why it matters: a worker that was stopped or suspended for longer than AckWait and
# politely gives back what it had not begun makes others do it twice at once. What has
# lapsed must be dropped without a word.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat > go.mod <<'MOD'
module stale
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

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(2)
	}
}

func main() {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: os.Args[1], NoLog: true, NoSigs: true})
	check(err)
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		check(fmt.Errorf("the server is not ready"))
	}
	ctx := context.Background()
	setup, err := nats.Connect(s.ClientURL())
	check(err)
	js, err := jetstream.New(setup)
	check(err)
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	check(err)
	_, err = js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 2 * time.Second})
	check(err)
	_, err = js.Publish(ctx, "s", []byte("x"))
	check(err)

	fetch := func(name string, wait time.Duration) jetstream.Msg {
		nc, err := nats.Connect(s.ClientURL())
		check(err)
		mine, err := jetstream.New(nc)
		check(err)
		c, err := mine.Consumer(ctx, "S", "c")
		check(err)
		got, err := c.Fetch(1, jetstream.FetchMaxWait(wait))
		check(err)
		m := <-got.Messages()
		if m == nil {
			fmt.Printf("%s gets nothing within %s\n", name, wait)
			return nil
		}
		meta, err := m.Metadata()
		check(err)
		fmt.Printf("%s gets message %d, delivery %d\n", name, meta.Sequence.Stream, meta.NumDelivered)
		return m
	}
	a := fetch("A", 5*time.Second)
	b := fetch("B", 10*time.Second) // after A's AckWait
	if a == nil || b == nil {
		os.Exit(2)
	}
	check(b.InProgress())
	fmt.Println("B reports it in progress: it is B's for another 2 s. A gives back its delivery, which is over.")
	check(a.Nak())
	if fetch("C", time.Second) == nil {
		fmt.Println("not as stated: the stale nak was ignored")
		os.Exit(1)
	}
	fmt.Println("as stated: C has it while B works on it")
}
GO
export GOTOOLCHAIN=auto GOFLAGS=-mod=mod
go get github.com/nats-io/nats-server/v2@v2.15.3 github.com/nats-io/nats.go@v1.55.0 >/dev/null 2>&1
go run . "$dir/store"
