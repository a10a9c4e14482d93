package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fanjet/config"
	"fanjet/internal/control"
	"fanjet/internal/wire"
	"fanjet/subscriber"
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
	file       string // that configured comes from; empty: there is none
	configured map[string]subscriber.Endpoint
	nc         *nats.Conn
	names      wire.Names
	state      jetstream.KeyValue
}

// openOperator reads the configuration, if there is one, and connects.
func (g *globals) openOperator(ctx context.Context) (*operator, error) {
	cfg, file, err := g.loadClient()
	if err != nil {
		return nil, err
	}
	o := &operator{file: file, names: wire.NewNames(cfg.NATS.Prefix), configured: make(map[string]subscriber.Endpoint, len(cfg.Endpoints))}
	for _, e := range cfg.Endpoints {
		o.configured[e.Name] = e
	}
	if o.nc, err = g.connect(ctx, cfg.NATS, "fanjet endpoints"); err != nil {
		return nil, err
	}
	if err := o.open(ctx); err != nil {
		o.nc.Close()
		return nil, err
	}
	return o, nil
}

// open finds the state bucket. Only the gateway creates it.
func (o *operator) open(ctx context.Context) error {
	js, err := jetstream.New(o.nc)
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	o.state, err = js.KeyValue(ctx, o.names.StateBucket())
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("the state bucket %s does not exist; has the gateway ever run against this NATS, with the prefix %q?",
			o.names.StateBucket(), o.names.Prefix())
	}
	if err != nil {
		return fmt.Errorf("opening the state bucket %s: %w", o.names.StateBucket(), err)
	}
	return nil
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
		known, err := o.knows(ctx, name)
		if err != nil {
			return err
		}
		if !known {
			errs = append(errs, o.unknown(name))
		}
	}
	return errors.Join(errs...)
}

// knows reports whether an endpoint is in the configuration, has anything stored,
// or is in the configuration of a gateway that runs.
func (o *operator) knows(ctx context.Context, name string) (bool, error) {
	if _, ok := o.configured[name]; ok {
		return true, nil
	}
	if subscriber.CheckName(name) != nil {
		return false, nil
	}
	pauses, err := subscriber.Pauses(ctx, o.state)
	if err != nil {
		return false, err
	}
	if _, ok := pauses[name]; ok {
		return true, nil
	}
	backlog, err := control.BacklogOf(ctx, o.nc, o.names, name)
	if err != nil || backlog != (control.Backlog{}) {
		return err == nil, err
	}
	reports, err := control.Statuses(ctx, o.nc, o.names, name)
	if errors.Is(err, control.ErrNoGateway) {
		return false, nil
	}
	return slices.ContainsFunc(reports, func(r control.Report) bool { return len(r.Statuses) > 0 }), err
}

// unknown says that there is no such endpoint.
func (o *operator) unknown(name string) error {
	place := "anywhere: there is no configuration file here, and NATS holds nothing for it"
	if o.file != "" {
		place = "in " + o.file + ", and NATS holds nothing for it"
	}
	return fmt.Errorf("endpoint %q is not %s%s", name, place, config.DidYouMean(name, slices.Collect(maps.Keys(o.configured))))
}

// addBy adds the flag that says who acts; by default the user of this machine.
func addBy(cmd *cobra.Command) *string {
	var by string
	cmd.Flags().StringVar(&by, "by", "", "`NAME` to record as who did it; your user name unless set")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if by == "" {
			by = userName()
		}
		if by == "" {
			return usagef("--by: this machine does not know who you are; say it")
		}
		return nil
	}
	return &by
}

// userName is the name of the user on this machine; empty if it has none.
func userName() string {
	if who, err := user.Current(); err == nil && who.Username != "" {
		return who.Username
	}
	return os.Getenv("USER")
}

// completeEndpoints lets the Tab key offer the names of the configuration, each
// once, up to a number of arguments; 0 means any.
func (g *globals) completeEndpoints(most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		cfg, _, err := g.loadClient()
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
