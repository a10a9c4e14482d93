package main

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

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

	defaultInbox = "_INBOX" // of clients of NATS
)

// loadConfig reads the configuration file that the flags name.
func (g *globals) loadConfig(opts config.Options) (*config.Config, error) {
	opts.NATS, opts.DataDir = g.nats, g.dataDir
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
//
// A right that NATS refuses ends the command, and [globals.report] names it: the answer
// to what was asked there never comes.
func (g *globals) connect(ctx context.Context, settings broker.Settings, name string) (*nats.Conn, error) {
	names := wire.NewNames(settings.Prefix)
	return g.connectAs(ctx, settings, broker.ConnectOptions{Name: name}, g.refused(names), names.OperatorInbox(), names.GatewayInbox(), defaultInbox)
}

// connectProducer is connect for a command that only publishes: it does without
// the operator's key of an embedded server when it cannot be read.
func (g *globals) connectProducer(ctx context.Context, settings broker.Settings, name string) (*nats.Conn, error) {
	names := wire.NewNames(settings.Prefix)
	return g.connectAs(ctx, settings, broker.ConnectOptions{Name: name, KeyOptional: true}, g.refused(names), defaultInbox, names.OperatorInbox(), names.GatewayInbox())
}

// refused ends the command. Replays and purges that tell each other which letters they
// took do without it where they may not.
func (g *globals) refused(names wire.Names) func(*broker.RefusedError) {
	return func(e *broker.RefusedError) {
		g.refusals.Observe(e)
		if e.Subject != names.ControlReplaySubject() && e.Subject != names.ControlRemoveSubject() && g.stop != nil {
			g.stop(e)
		}
	}
}

// connectAs connects with the first of some inboxes that the user may listen to; a
// role has one of them.
func (g *globals) connectAs(ctx context.Context, settings broker.Settings, opts broker.ConnectOptions, refused func(*broker.RefusedError), inboxes ...string) (*nats.Conn, error) {
	opts.NoWait = true
	for i, inbox := range inboxes {
		probe := inbox + ".fanjet-probe." + strings.ToLower(rand.Text()[:8])
		opts.Inbox = inbox
		opts.OnError = func(err error) {
			if r := broker.RefusedBy(err); r != nil && (r.Subject != probe || i == len(inboxes)-1) {
				refused(r)
			}
		}
		nc, err := broker.Connect(ctx, settings, opts)
		if err != nil {
			return nil, err
		}
		if i == len(inboxes)-1 || mayListen(ctx, nc, probe) {
			return nc, nil
		}
		nc.Close()
	}
	return nil, errors.New("no inbox was named")
}

// mayListen reports whether NATS lets a connection subscribe to a subject.
func mayListen(ctx context.Context, nc *nats.Conn, subject string) bool {
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		return true // it shows later
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = nc.FlushWithContext(wait)
	refused := broker.RefusedBy(nc.LastError())
	return refused == nil || refused.Subject != subject
}
