package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/gateway"
	"fanjet/gateway/match"
	"fanjet/internal/broker"
	"fanjet/internal/secret"
	"fanjet/internal/wire"
	"fanjet/subscriber"
)

// drainFanjet runs the whole gateway, with its defaults.
func drainFanjet(s setup) (figures, error) {
	e, cleanup, err := embedded(s.Tier)
	if err != nil {
		return figures{}, err
	}
	defer cleanup()
	if err := preload(e, s); err != nil {
		return figures{}, err
	}
	target, err := url.Parse(s.Sink)
	if err != nil {
		return figures{}, err
	}
	endpoint := subscriber.DefaultEndpoint()
	endpoint.Name, endpoint.URL, endpoint.MaxInFlight = "sink", target, s.InFlight
	endpoint.Secrets = []secret.Value{secret.New(benchSecret)}
	gw, err := gateway.New(gateway.Options{Config: &config.Config{
		NATS:          broker.Settings{Prefix: wire.DefaultPrefix, Embedded: e, Replicas: 1},
		Sources:       []config.Source{{Stream: benchStream, Subjects: []string{"events.>"}, Create: true, MaxAge: 168 * time.Hour}},
		Admin:         config.Admin{Listen: "127.0.0.1:0"},
		Egress:        subscriber.Egress{AllowHTTP: true, AllowCIDRs: []subscriber.AllowedNet{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}},
		Endpoints:     []subscriber.Endpoint{endpoint},
		Subscriptions: []match.Subscription{{Name: "all", Subjects: []string{"events.>"}, Endpoints: []string{"sink"}}},
	}})
	if err != nil {
		return figures{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	run, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(run) }()
	select {
	case <-gw.Started():
	case err := <-ended:
		return figures{}, fmt.Errorf("the gateway did not start: %w", err)
	}
	watch := startWatch()
	nc, err := nats.Connect(gw.NATSURL())
	if err != nil {
		return figures{}, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return figures{}, err
	}
	names := wire.NewNames(wire.DefaultPrefix)
	if err := settled(ctx, js, names.DeliveriesStream(), names.DeliverConsumer(), uint64(s.Events)); err != nil {
		return figures{}, errors.Join(err, gw.Ready())
	}
	f := watch.stop(s.Events)
	stop()
	return f, <-ended
}
