#!/bin/sh
# package: github.com/nats-io/nats-server/v2 2.15.3, github.com/nats-io/nats.go 1.55.0
#
# The guess: a stream that is filled from others ("sources") and may not allow message
# schedules (the server refuses that: 10187) holds none. So who reads it need not ask
# whether a message is a schedule; a look at allow_msg_schedules tells.
#
# The behaviour: schedules, and delete markers of the server, are taken over as they
# are, from an origin that allows them. In the aggregate, and in a mirror, they are
# ordinary messages: nothing fires or expires there. The fired message is taken over,
# too.
#
# Why it matters: a consumer of the aggregate gets each scheduled message twice, once
# at once and once when it is due, and an empty message for what expired.
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
	must(js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "ORIGIN", Subjects: []string{"o.>"}, AllowRollup: true, AllowMsgSchedules: true, AllowMsgTTL: true, SubjectDeleteMarkerTTL: time.Second,
	}))
	aggregate := jetstream.StreamConfig{Name: "ALL", Sources: []*jetstream.StreamSource{{Name: "ORIGIN"}}}
	allowed := aggregate
	allowed.AllowMsgSchedules, allowed.AllowRollup = true, true
	_, err := js.CreateStream(ctx, allowed)
	fmt.Println("an aggregate that allows schedules:", err)
	all := must(js.CreateStream(ctx, aggregate))
	in := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)
	must(js.PublishMsg(ctx, &nats.Msg{Subject: "o.schedule", Data: []byte("later"), Header: nats.Header{"Nats-Schedule": {"@at " + in}, "Nats-Schedule-Target": {"o.fired"}}}))
	must(js.PublishMsg(ctx, &nats.Msg{Subject: "o.short", Data: []byte("x"), Header: nats.Header{"Nats-TTL": {"1s"}}}))
	for deadline := time.Now().Add(20 * time.Second); ; {
		info := must(all.Info(ctx))
		if info.State.LastSeq >= 4 {
			break
		}
		if time.Now().After(deadline) {
			fmt.Println("the aggregate has only", info.State.LastSeq, "messages")
			os.Exit(1)
		}
		time.Sleep(50 * time.Millisecond)
	}
	schedules, fired, markers := 0, 0, 0
	for seq := uint64(1); seq <= 4; seq++ {
		m := must(all.GetMsg(ctx, seq))
		fmt.Printf("ALL/%d %s %q %v\n", seq, m.Subject, m.Data, m.Header)
		switch {
		case m.Header.Get("Nats-Schedule") != "":
			schedules++
		case m.Header.Get("Nats-Marker-Reason") != "":
			markers++
		case m.Subject == "o.fired":
			fired++
		}
	}
	if err == nil || schedules != 1 || fired != 1 || markers != 1 {
		fmt.Println("not as stated:", schedules, fired, markers)
		os.Exit(1)
	}
}
GO
go mod tidy >/dev/null 2>&1
go run . "$dir/store"
