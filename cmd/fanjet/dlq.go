package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fanjet/config"
	"fanjet/dlq"
	"fanjet/internal/control"
)

func newDLQCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Look at dead letters, replay, drain or purge them",
		Long: `Look at the dead-letter queue, and act on it.

A dead letter is a delivery that Fanjet gave up: every attempt failed, or one was
answered with a final status. It stays in the queue, with the event, until you
replay, drain or purge it.`,
		Example: `  fanjet dlq stats
  fanjet dlq list --endpoint billing --since 2h
  fanjet dlq replay --endpoint billing --dry-run`,
	}
	cmd.AddCommand(
		newDLQStatsCommand(g),
		newDLQListCommand(g),
		newDLQShowCommand(g),
		newDLQExportCommand(g),
		newDLQReplayCommand(g),
		newDLQDrainCommand(g),
		newDLQPurgeCommand(g),
	)
	return cmd
}

// dlqFilter holds the flags that select letters.
type dlqFilter struct {
	endpoint, reason, subject, since, until, id string
	limit                                       int
	all                                         bool // every letter is meant
	acts                                        bool // the command moves or removes letters, and has --all
}

// addDLQFilter adds the flags that select letters to a command. What they say is
// checked before the command runs.
func (g *globals) addDLQFilter(cmd *cobra.Command) *dlqFilter {
	f := &dlqFilter{}
	flags := cmd.Flags()
	flags.StringVar(&f.endpoint, "endpoint", "", "letters of this endpoint")
	flags.StringVar(&f.reason, "reason", "", "letters with this reason, such as exhausted")
	flags.StringVar(&f.subject, "subject", "", "letters of events on this subject; NATS wildcards * and >")
	flags.StringVar(&f.since, "since", "", "dead-lettered at this `TIME` or later: RFC 3339, or so long ago, such as 2h or 3d")
	flags.StringVar(&f.until, "until", "", "dead-lettered before this `TIME`")
	flags.StringVar(&f.id, "id", "", "letters of the event with this webhook-id")
	flags.IntVar(&f.limit, "limit", 0, "only the oldest so many of those that match")
	selectOnce(cmd, "endpoint", "reason", "subject", "since", "until", "id", "limit")
	var reasons []string
	for _, reason := range dlq.Reasons() {
		reasons = append(reasons, string(reason))
	}
	completeWords(cmd, "reason", reasons...)
	// It fails only when there is no such flag, or when it has words already.
	_ = cmd.RegisterFlagCompletionFunc("endpoint", g.completeEndpoints(0))
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := noArguments(cmd, args); err != nil {
			return err
		}
		if cmd.Flags().Changed("limit") && f.limit == 0 {
			return errors.New("--limit 0 selects no letter; without a limit, leave the flag out")
		}
		_, err := f.filter(time.Now())
		return err
	}
	return f
}

// addDLQSelection is addDLQFilter for a command that moves or removes letters:
// nobody selects every letter by leaving out something.
func (g *globals) addDLQSelection(cmd *cobra.Command) *dlqFilter {
	f := g.addDLQFilter(cmd)
	f.acts = true
	cmd.Flags().BoolVar(&f.all, "all", false, "the letters of every endpoint, with every reason; instead of a filter")
	return f
}

// filter reads the flags. Times that say "so long ago" count from now.
func (f *dlqFilter) filter(now time.Time) (dlq.Filter, error) {
	since, err := parseTime("since", f.since, now)
	if err != nil {
		return dlq.Filter{}, err
	}
	until, err := parseTime("until", f.until, now)
	if err != nil {
		return dlq.Filter{}, err
	}
	filter := dlq.Filter{
		Endpoint: f.endpoint,
		Reason:   dlq.Reason(f.reason),
		Subject:  f.subject,
		Since:    since,
		Until:    until,
		ID:       f.id,
		Limit:    f.limit,
	}
	if err := filter.Validate(); err != nil {
		return dlq.Filter{}, usagef("--%w", err)
	}
	switch every := filter.Every(); {
	case f.acts && every && !f.all:
		return dlq.Filter{}, usagef("nothing says which letters: give --endpoint, --reason, --subject, --since, --until or --id, or --all for every letter")
	case f.all && !every:
		return dlq.Filter{}, usagef("--all and a filter contradict each other; give one of them")
	}
	return filter, nil
}

// parseTime reads a point in time: RFC 3339, or a duration that ends now. Empty
// is the zero time.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	t, err := control.ParseTime(text, now)
	if err != nil {
		return time.Time{}, usagef("--%s %w", flag, err)
	}
	return t, nil
}

// dlqClient is what a command needs to look at letters and to act on them. Close
// it after use.
type dlqClient struct {
	*control.Letters
	operator *operator
}

func (c *dlqClient) close() { c.operator.close() }

// openDLQ connects and opens the dead-letter queue.
func (g *globals) openDLQ(ctx context.Context) (*dlqClient, error) {
	cfg, file, err := g.loadClient()
	if err != nil {
		return nil, err
	}
	nc, err := g.connect(ctx, cfg.NATS, "fanjet dlq")
	if err != nil {
		return nil, err
	}
	o := &operator{file: file, nc: nc, refusals: &g.refusals}
	letters, err := o.openLetters(ctx, cfg)
	if err != nil {
		defer nc.Close()
		return nil, cfg.NATS.Unanswered(nc, err)
	}
	return &dlqClient{Letters: letters, operator: o}, nil
}

func (o *operator) openLetters(ctx context.Context, cfg *config.Config) (*control.Letters, error) {
	js, err := cfg.NATS.JetStream(o.nc)
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	o.operate(cfg, js, nil)
	return control.OpenLetters(ctx, o.Operator)
}

// withDLQ runs a command on the letters that the flags select.
func (g *globals) withDLQ(ctx context.Context, flags *dlqFilter, do func(context.Context, *dlqClient, dlq.Filter) error) error {
	filter, err := flags.filter(time.Now())
	if err != nil {
		return err
	}
	queue, err := g.openDLQ(ctx)
	if err != nil {
		return err
	}
	defer queue.close()
	if err := queue.Check(ctx, filter); err != nil {
		return queue.operator.explain(err)
	}
	return do(ctx, queue, filter)
}
