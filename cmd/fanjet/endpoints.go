package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"fanjet/config"
	"fanjet/internal/broker"
	"fanjet/internal/control"
	"fanjet/internal/slip"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
)

func newEndpointsCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "endpoints",
		Short: "See how endpoints do, pause and resume them, send test events",
		Long: `See how endpoints do, and act on them.

What waits, and which endpoints are paused, is read from NATS; how they do at the
moment, the running gateways say. The names come from the configuration.`,
		Example: `  fanjet endpoints list
  fanjet endpoints show billing
  fanjet endpoints pause billing --reason "their maintenance, until 14:00"`,
	}
	cmd.AddCommand(
		newEndpointsListCommand(g),
		newEndpointsShowCommand(g),
		newEndpointsPauseCommand(g),
		newEndpointsResumeCommand(g),
		newEndpointsPingCommand(g),
	)
	return cmd
}

// operator is what a command needs to see and steer endpoints. Close it after
// use.
type operator struct {
	*control.Operator
	file    string   // the configuration; empty: there is none
	sources []string // of it
	nc      *nats.Conn
	// refusals hears what NATS refuses to nc.
	refusals *broker.Refusals
}

// openOperator reads the configuration, if there is one, and connects.
func (g *globals) openOperator(ctx context.Context) (*operator, error) {
	cfg, file, err := g.loadClient()
	if err != nil {
		return nil, err
	}
	nc, err := g.connect(ctx, cfg.NATS, "fanjet endpoints")
	if err != nil {
		return nil, err
	}
	o := &operator{file: file, sources: sourcesOf(cfg), nc: nc, refusals: &g.refusals}
	if err := o.open(ctx, cfg); err != nil {
		defer nc.Close()
		return nil, cfg.NATS.Unanswered(nc, err)
	}
	return o, nil
}

func (o *operator) open(ctx context.Context, cfg *config.Config) error {
	js, err := cfg.NATS.JetStream(o.nc)
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	state, err := control.OpenState(ctx, js, wire.NewNames(cfg.NATS.Prefix))
	if err != nil {
		return err
	}
	o.operate(cfg, js, state)
	return nil
}

// operate makes the operator; without the state bucket, one that looks at
// endpoints and acts on letters.
func (o *operator) operate(cfg *config.Config, js jetstream.JetStream, state jetstream.KeyValue) {
	o.Operator = control.NewOperator(control.Options{
		JetStream: js, Names: wire.NewNames(cfg.NATS.Prefix), State: state, NoConfig: o.file == "",
		Endpoints: func() []endpoint.Settings { return cfg.Endpoints }, Refusals: o.refusals,
	})
}

func (o *operator) close() { o.nc.Close() }

// withOperator runs a command on endpoints.
func (g *globals) withOperator(ctx context.Context, do func(context.Context, *operator) error) error {
	o, err := g.openOperator(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	return do(ctx, o)
}

// checkNames refuses names that nothing is known of, all of them before anything
// is done to one.
func (o *operator) checkNames(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		switch err := o.Check(ctx, name); {
		case errors.Is(err, control.ErrUnknownEndpoint):
			errs = append(errs, o.explain(err))
		case err != nil:
			return err
		}
	}
	return errors.Join(errs...)
}

// explain says of an endpoint that nothing is known of where it is not; other
// errors it leaves as they are.
func (o *operator) explain(err error) error {
	unknown, ok := errors.AsType[*control.UnknownEndpointError](err)
	if !ok {
		return err
	}
	place := "anywhere: there is no configuration file here, and NATS holds nothing for it"
	if o.file != "" {
		place = "in " + o.file + ", and NATS holds nothing for it"
	}
	return fmt.Errorf("endpoint %q is not %s%s", unknown.Endpoint, place, slip.DidYouMean(unknown.Endpoint, unknown.Known))
}

// completeEndpoints lets the Tab key offer the names of the configuration, each
// once, up to a number of arguments; 0 means any.
func (g *globals) completeEndpoints(most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		cfg, _, _, err := g.readClient()
		if err != nil || most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, e := range cfg.Endpoints {
			if !slices.Contains(args, e.Name) {
				names = append(names, e.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// oneEndpoint checks the arguments of a command that takes the name of one.
func oneEndpoint(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("takes the name of one endpoint, not %d arguments", len(args))
	}
	return nil
}
