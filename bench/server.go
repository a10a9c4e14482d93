package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"fanjet/internal/broker"
)

// storeDir is where the streams of a measurement are, in its folder.
func storeDir(dir string) string { return filepath.Join(dir, "nats") }

// syncInterval reads a durability tier; 0 is fsync.
func syncInterval(tier string) (time.Duration, error) {
	if tier == "fsync" {
		return 0, nil
	}
	return time.ParseDuration(tier)
}

// natsServer starts a server that other processes can reach.
func natsServer(dir, tier string) (*broker.Server, error) {
	interval, err := syncInterval(tier)
	if err != nil {
		return nil, err
	}
	return broker.StartEmbedded(broker.Embedded{
		StoreDir: storeDir(dir), Listen: "127.0.0.1:-1", SyncInterval: interval,
	}, zap.NewNop())
}

// connectNATS connects as an operator to a server of a measurement: to that of
// this process, or, if there is none, to the one at url.
func connectNATS(dir, url string, server *broker.Server) (*nats.Conn, error) {
	settings := broker.Settings{URL: url, Credentials: filepath.Join(storeDir(dir), broker.OperatorKeyName)}
	return broker.Connect(context.Background(), settings, broker.ConnectOptions{Name: "bench", Server: server, NoWait: true})
}

// startServer is the child that is a NATS server and nothing else.
func startServer(j job) (work, error) {
	server, err := natsServer(j.Dir, j.Tier)
	if err != nil {
		return work{}, err
	}
	return work{hello: hello{URL: server.URL()}, stop: func() error { server.Shutdown(); return nil }}, nil
}
