package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"fanjet/internal/audit"
	"fanjet/internal/control"
	"fanjet/subscriber/endpoint"

	"github.com/spf13/cobra"
)

const skipFlag = "skip-first" // of resume

// endpointAct is what pause and resume differ in.
type endpointAct struct {
	ask string // what is asked before it is done to all
	do  func(ctx context.Context, o *operator, by audit.Actor, name string) (control.PauseReport, error)
	// tell says what was done to an endpoint.
	tell func(control.PauseReport) string
}

func newEndpointsPauseCommand(g *globals) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "pause NAME...",
		Short: "Hold an endpoint's deliveries until it is resumed",
		Long: `Hold the deliveries of endpoints: nothing is sent to them any more, except attempts
that are in flight, until they are resumed. What waits is kept in NATS, however much
it is, and does not expire meanwhile. A pause holds for all gateways and outlives
restarts; no gateway need run to set it. Pausing twice changes nothing.`,
		Example: `  fanjet endpoints pause billing --reason "their maintenance, until 14:00"
  fanjet endpoints pause billing crm
  fanjet endpoints pause --all --yes`,
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who see it later")
	allowEmpty(cmd, "reason")
	g.actOnEndpoints(cmd, endpointAct{
		ask: "Pause",
		do: func(ctx context.Context, o *operator, by audit.Actor, name string) (control.PauseReport, error) {
			return o.Pause(ctx, by, name, reason)
		},
		tell: func(r control.PauseReport) string {
			if r.Changed {
				return "paused"
			}
			return fmt.Sprintf("was paused already, since %s %s", shortTime(r.Pause.Since), control.DescribePause(*r.Pause))
		},
	})
	return cmd
}

func newEndpointsResumeCommand(g *globals) *cobra.Command {
	var skip bool
	var reason string
	cmd := &cobra.Command{
		Use:   "resume NAME...",
		Short: "End the pause of an endpoint, and what else it waits for",
		Long: `End the pause of endpoints: what was held is delivered, as fast as the endpoint's
settings allow.

With it ends, in all gateways, what an endpoint waits for by itself, paused or not: a
time that it asked for with Retry-After, and an open circuit. One that refused
everything, or answered 410, gets one delivery first: when it accepts that, the others
follow. --all means the endpoints that are paused.

An ordered endpoint with on_exhausted: block pauses when its first delivery has used
up its attempts. A resume tries that one anew; with --skip-first it is dead-lettered,
and the line goes on behind it.`,
		Example: `  fanjet endpoints resume billing
  fanjet endpoints resume ledger --skip-first
  fanjet endpoints resume --all --yes`,
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who read the audit")
	allowEmpty(cmd, "reason")
	cmd.Flags().BoolVar(&skip, skipFlag, false, "dead-letter the delivery at which an ordered endpoint's line stands")
	g.actOnEndpoints(cmd, endpointAct{
		ask: "Resume",
		do: func(ctx context.Context, o *operator, by audit.Actor, name string) (control.PauseReport, error) {
			return o.Resume(ctx, by, name, reason, skip)
		},
		tell: func(r control.PauseReport) string {
			text := "was not paused"
			if r.Pause != nil {
				text = fmt.Sprintf("resumed after %s; %s held", shortDuration(time.Since(r.Pause.Since)), were(*r.Held))
			}
			if r.Skipped != "" {
				text += "; the first of them is dead-lettered"
			}
			for _, l := range r.Lifted {
				text += "; " + lifted(l)
			}
			return text
		},
	})
	return cmd
}

// lifted says what was ended.
func lifted(l control.LiftReport) string {
	text := fmt.Sprintf("it was %s in %s (%s)", l.State, counted(l.Gateways, "gateway"), l.Reason)
	if l.State == endpoint.StateRefusing {
		return text + ": the next one is sent at once, and others when it accepts that"
	}
	return text + ": that is lifted"
}

func were(deliveries uint64) string {
	if deliveries == 1 {
		return "1 delivery was"
	}
	return fmt.Sprintf("%d deliveries were", deliveries)
}

// actOnEndpoints makes a command act on the endpoints that its arguments name.
func (g *globals) actOnEndpoints(cmd *cobra.Command, act endpointAct) {
	var all, yes bool
	cmd.Flags().BoolVar(&all, "all", false, cmd.Name()+" all endpoints; asks first")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	by := addBy(cmd)
	out := addOutputFlag(cmd)
	cmd.ValidArgsFunction = g.completeEndpoints(0)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case !all && len(args) == 0:
			return errors.New("takes the names of endpoints, or --all")
		case all && len(args) > 0:
			return errors.New("takes the names of endpoints or --all, not both")
		case all && cmd.Flags().Changed(skipFlag):
			return errors.New("--" + skipFlag + " takes the names of endpoints, not --all")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return g.withOperator(cmd.Context(), func(ctx context.Context, o *operator) error {
			err := o.checkNames(ctx, names)
			if all {
				names, err = o.allFor(ctx, cmd.Name())
			}
			if err == nil && all && len(names) > 0 && !yes {
				err = g.confirm(ctx, fmt.Sprintf("%s %s?", act.ask, counted(len(names), "endpoint")))
			}
			if err != nil {
				return err
			}
			return g.toEach(names, out, act.tell, func(name string) (control.PauseReport, error) { return act.do(ctx, o, *by, name) })
		})
	}
}

// allFor names all endpoints that a command can act on: those of the
// configuration, or those that are paused.
func (o *operator) allFor(ctx context.Context, command string) ([]string, error) {
	if command == "resume" {
		pauses, err := o.Paused(ctx)
		return slices.Sorted(maps.Keys(pauses)), err
	}
	if o.file == "" {
		return nil, usagef("--all takes the names of the configuration file, and there is none here; name the endpoints, or set --config")
	}
	return slices.Sorted(maps.Keys(o.Configured())), nil
}

// toEach acts on one endpoint after the other until one fails, and tells of each.
func (g *globals) toEach(names []string, out *output, tell func(control.PauseReport) string, do func(name string) (control.PauseReport, error)) error {
	reports := []control.PauseReport{}
	var failure error
	for _, name := range names {
		report, err := do(name)
		if err != nil {
			failure = err
			_ = g.unrecorded(report.AuditError)
			break
		}
		if missing := report.Gateways.String(); missing != "" {
			g.warn("%s: %s", printable(name), printable(missing))
		}
		reports = append(reports, report)
		failure = cmp.Or(failure, g.unrecorded(report.AuditError))
		if !out.json() {
			fmt.Fprintf(g.out, "%s: %s\n", printable(name), printable(tell(report)))
		}
	}
	if out.json() {
		return errors.Join(failure, writeJSON(g.out, reports))
	}
	if len(names) == 0 {
		fmt.Fprintln(g.err, "no endpoints")
	}
	return failure
}
