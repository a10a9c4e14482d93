#!/bin/sh
# package: github.com/nats-io/nats-server/v2 v2.15.3, with github.com/nats-io/nats.go v1.55.0
#
# The guess: a stream on a disk that was full for a moment takes messages again as
# soon as there is room; until then a publish is answered with an error, and the
# stream's information or the account's would show that something is wrong.
#
# What it does: the first failed write stays in the stream's store. No publish to it
# is answered at all any more, neither while there is no room nor when there is
# again, until the server is started anew. The information of stream and account is
# as before. Only a purge tells: one of a subject that the stream does not even have
# is refused with the error of that write.
#
# Why it matters: who watches such a server by connection, account and stream sees
# one that is well, for ever; and a retry without an end waits for an answer that
# never comes.
#
# A limit on the size of files (RLIMIT_FSIZE) stands for the full disk: no rights
# are needed, and every write beyond it fails.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
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
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var wrong bool

func expect(what string, ok bool) {
	fmt.Printf("%-5v %s\n", ok, what)
	wrong = wrong || !ok
}

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	return v
}

func limit(size uint64) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		panic(err)
	}
	l.Cur = min(size, l.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		panic(err)
	}
}

func main() {
	ctx := context.Background()
	start := func() (*server.Server, jetstream.JetStream) {
		s := must(server.NewServer(&server.Options{JetStream: true, StoreDir: "store", DontListen: true, NoSigs: true, NoLog: true}))
		s.Start()
		if !s.ReadyForConnections(10 * time.Second) {
			os.Exit(2)
		}
		return s, must(jetstream.New(must(nats.Connect("", nats.InProcessServer(s)))))
	}
	s, js := start()
	stream := must(js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}))
	publish := func() error {
		timed, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := js.Publish(timed, "s.x", make([]byte, 8<<10))
		return err
	}
	expect("a publish is answered", publish() == nil)

	limit(4 << 10)
	err := publish()
	expect(fmt.Sprintf("without room it is not answered: %v", err), err == context.DeadlineExceeded)
	limit(1 << 62)
	err = publish()
	expect(fmt.Sprintf("with room again it is not answered: %v", err), err == context.DeadlineExceeded)
	info, err := stream.Info(ctx)
	expect(fmt.Sprintf("the stream's information is as before: %d message, %v", info.State.Msgs, err), err == nil && info.State.Msgs == 1)
	account, err := js.AccountInfo(ctx)
	expect(fmt.Sprintf("and the account's: %d stream, %v", account.Streams, err), err == nil && account.Streams == 1)
	err = stream.Purge(ctx, jetstream.WithPurgeSubject("nothing.of.it"))
	expect(fmt.Sprintf("a purge of a subject that it does not have is refused: %v", err), err != nil && strings.Contains(err.Error(), "file too large"))

	js.Conn().Close()
	s.Shutdown()
	s.WaitForShutdown()
	s, js = start()
	expect("after a restart a publish is answered", publish() == nil)
	js.Conn().Close()
	s.Shutdown()
	s.WaitForShutdown()
	if wrong {
		os.Exit(1)
	}
}
GO
go mod tidy >/dev/null 2>&1
go run .
