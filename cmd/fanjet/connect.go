package main

import (
	"context"

	"github.com/nats-io/nats.go"

	"fanjet/config"
	"fanjet/internal/broker"
	"fanjet/internal/wire"
)

// Where the embedded server listens and keeps its streams and its key, unless
// the configuration says otherwise.
const (
	defaultListen = "127.0.0.1:4222"
	defaultStore  = "fanjet-data"
	defaultSource = "EVENTS"
)

// loadConfig reads the configuration file that the flags name.
func (g *globals) loadConfig(opts config.Options) (*config.Config, error) {
	opts.NATS = g.nats
	return config.Load(g.config, opts)
}

// loadNATS returns the part of the configuration that a client of NATS needs.
func (g *globals) loadNATS() (broker.Settings, error) {
	cfg, _, err := g.loadClient()
	if err != nil {
		return broker.Settings{}, err
	}
	return cfg.NATS, nil
}

// connect connects a command that ends soon, as an operator: it does not wait
// for a server that cannot be reached. Close the connection after use.
func (g *globals) connect(ctx context.Context, settings broker.Settings, name string) (*nats.Conn, error) {
	return broker.Connect(ctx, settings, broker.ConnectOptions{
		Name: name, NoWait: true, Inbox: wire.NewNames(settings.Prefix).OperatorInbox(),
	})
}

// connectProducer is connect for a command that only publishes: it does without
// the operator's key of an embedded server when it cannot be read.
func (g *globals) connectProducer(ctx context.Context, settings broker.Settings, name string) (*nats.Conn, error) {
	return broker.Connect(ctx, settings, broker.ConnectOptions{Name: name, NoWait: true, KeyOptional: true})
}
