#!/bin/sh
# package: github.com/nats-io/nats-server/v2 2.15.3, github.com/nats-io/nats.go 1.55.0
#
# The guess: who asks for an answer to an acknowledgement (DoubleAck) gets one from a
# server that is there: success, or an error where the message is not pending. An ack of
# what was acknowledged long ago is answered, too.
#
# The behaviour: a consumer whose state is behind the message (it was reset, or the
# server was killed before the state was written) ignores it. There is no answer, ever,
# however often it is repeated, until the consumer has handed that message out again;
# then the old reply subject is answered.
#
# Why it matters: a client that ends in order, and repeats its last ack until it is
# answered, waits for as long as it may, although server and connection are well.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOTOOLCHAIN=auto
cat > go.mod <<'MOD'
module finding

go 1.26

require (
	github.com/nats-io/nats-server/v2 v2.15.3
	github.com/nats-io/nats.go v1.55.0
)
MOD
cat > main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Println("unexpected:", err)
		os.Exit(1)
	}
	return v
}

func main() {
	ctx := context.Background()
	srv := must(server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: os.Args[1], NoLog: true, NoSigs: true}))
	srv.Start()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(10 * time.Second) {
		os.Exit(1)
	}
	nc := must(nats.Connect("", nats.InProcessServer(srv)))
	js := must(jetstream.New(nc))
	must(js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}))
	for range 3 {
		must(js.Publish(ctx, "s", nil))
	}
	c := must(js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute}))
	take := func() (all []string) {
		batch := must(c.Fetch(3, jetstream.FetchMaxWait(5*time.Second)))
		for m := range batch.Messages() {
			all = append(all, m.Reply())
		}
		return all
	}
	ack := func(what, reply string) (answered bool) {
		_, err := nc.Request(reply, []byte("+ACK"), time.Second)
		fmt.Printf("%s: %v\n", what, err)
		if err != nil && !errors.Is(err, nats.ErrTimeout) {
			os.Exit(1)
		}
		return err == nil
	}
	replies := take()
	first := ack("an ack", replies[0])
	twice := ack("the same once more", replies[0])
	must(js.ResetConsumerToSequence(ctx, "S", "c", 1))
	third := ack("of what the consumer has not handed out, as it knows", replies[2])
	thirdAgain := ack("that once more", replies[2])
	take()
	after := ack("the same, when it has handed it out again", replies[2])
	if !first || !twice || third || thirdAgain || !after {
		fmt.Println("not as stated")
		os.Exit(1)
	}
}
GO
go mod tidy >/dev/null 2>&1
go run . "$dir/store"
