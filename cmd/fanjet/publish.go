package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fanjet/internal/wire"
)

func newPublishCommand(g *globals) *cobra.Command {
	var data, id string
	var headers []string
	var count int
	var rate float64
	cmd := &cobra.Command{
		Use:   "publish SUBJECT [--data DATA|@FILE|-]",
		Short: "Publish events and wait until JetStream has stored them",
		Long: `Publish an event, or several, and wait until JetStream has acknowledged each:
from then on Fanjet will deliver it. Any NATS client can do the same; this one
is for trying things out. It warns of a body that a filter of the configuration needs
and cannot read.

Without --nats, the server is the one that the configuration names, or the one
inside a gateway on this machine.`,
		Example: `  fanjet publish events.orders.eu.paid --data '{"amount": 1500}'
  fanjet publish events.orders.eu.paid --data @order.json --id order-17
  fanjet publish events.load --data - --count 10000 --rate 500 < event.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("takes one subject, not %d", len(args))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "{}", "the event's `body`; @FILE reads a file, - the standard input")
	allowEmpty(cmd, "data") // an event may be empty
	cmd.Flags().StringVar(&id, "id", "", "id of the event (Nats-Msg-Id): JetStream drops a second one within its duplicates window; with --count a number is added")
	cmd.Flags().StringArrayVar(&headers, "header", nil, "header of the event, as `NAME=VALUE`; may be repeated")
	cmd.Flags().IntVar(&count, "count", 1, "how many events")
	cmd.Flags().Float64Var(&rate, "rate", 0, "events per second at most; 0 means as fast as they are acknowledged")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkEventSubject(args[0]); err != nil {
			return err
		}
		if count < 1 {
			return usagef("--count %d: at least one event", count)
		}
		if rate < 0 {
			return usagef("--rate %v: must not be negative", rate)
		}
		header, err := parseHeaders(headers)
		if err != nil {
			return err
		}
		if len(header[nats.MsgIdHdr]) > 0 && (id != "" || count > 1) {
			return usagef("--header %s: use --id instead", nats.MsgIdHdr)
		}
		body, err := g.readData(data)
		if err != nil {
			return err
		}
		return g.publish(cmd.Context(), publication{args[0], body, header, id, count, rate})
	}
	return cmd
}

func (g *globals) publish(ctx context.Context, p publication) error {
	settings, err := g.loadNATS()
	if err != nil {
		return err
	}
	names := wire.NewNames(settings.Prefix)
	if strings.HasPrefix(p.subject, names.Prefix()+".") {
		return usagef("subject %q is one of Fanjet's own (%s); events are published elsewhere", p.subject, names.AllSubjects())
	}
	nc, err := g.connectProducer(ctx, settings, "fanjet publish")
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := settings.JetStream(nc, jetstream.WithPublishAsyncTimeout(ackTimeout))
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	g.warnUnreadable(p)
	done, err := p.send(ctx, js)
	if done.count > 0 {
		fmt.Fprintf(g.out, "stored %v\n", done)
	}
	if err != nil && p.count > 1 {
		fmt.Fprintf(g.err, "%d of %d events were acknowledged\n", done.count, p.count)
	}
	return explainPublish(err, p)
}

// explainPublish says what to do about an event that was not acknowledged.
func explainPublish(err error, p publication) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("no stream takes the subject %s: publish on one of sources[].subjects (events.> by default), "+
			"and start the gateway, which creates the stream: %w", p.subject, err)
	case errors.Is(err, jetstream.ErrAsyncPublishTimeout), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("no acknowledgement within %v: the event may be stored or not; with the same --id it can be published again safely: %w",
			ackTimeout, err)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("the event has %d bytes, more than the server takes: %w", len(p.data), err)
	case err != nil && !errors.Is(err, context.Canceled):
		return fmt.Errorf("publish on %s: %w", p.subject, err)
	}
	return err
}
