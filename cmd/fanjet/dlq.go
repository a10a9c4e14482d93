package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fanjet/dlq"
	"fanjet/internal/control"
	"fanjet/internal/wire"
)

func newDLQCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Look at dead letters, replay them, or purge them",
		Long: `Look at the dead-letter queue, and act on it.

A dead letter is a delivery that Fanjet gave up: every attempt failed, or one was
answered with a final status. It stays in the queue, with the event, until you
replay or purge it.`,
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
		newDLQPurgeCommand(g),
	)
	return cmd
}

// dlqFilter holds the flags that select letters.
type dlqFilter struct {
	endpoint, reason, subject, since, until, id string
	limit                                       int
}

func addDLQFilter(cmd *cobra.Command) *dlqFilter {
	f := &dlqFilter{}
	flags := cmd.Flags()
	flags.StringVar(&f.endpoint, "endpoint", "", "letters of this endpoint")
	flags.StringVar(&f.reason, "reason", "", "letters with this reason, such as exhausted")
	flags.StringVar(&f.subject, "subject", "", "letters of events on this subject; NATS wildcards * and >")
	flags.StringVar(&f.since, "since", "", "dead-lettered at this `TIME` or later: RFC 3339, or so long ago, such as 2h or 3d")
	flags.StringVar(&f.until, "until", "", "dead-lettered before this `TIME`")
	flags.StringVar(&f.id, "id", "", "letters of the event with this webhook-id")
	flags.IntVar(&f.limit, "limit", 0, "only the oldest so many; 0 means all")
	var reasons []string
	for _, reason := range dlq.Reasons() {
		reasons = append(reasons, string(reason))
	}
	completeWords(cmd, "reason", reasons...)
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

// openDLQ connects and opens the dead-letter queue. Call done after use.
func (g *globals) openDLQ(ctx context.Context) (queue *control.Letters, done func(), err error) {
	settings, err := g.loadNATS()
	if err != nil {
		return nil, nil, err
	}
	nc, err := g.connect(ctx, settings, "fanjet dlq")
	if err != nil {
		return nil, nil, err
	}
	js, err := settings.JetStream(nc)
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("open JetStream: %w", err)
	}
	queue, err = control.OpenLetters(ctx, js, wire.NewNames(settings.Prefix), nil)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return queue, nc.Close, nil
}

// withDLQ runs a command on the letters that the flags select.
func (g *globals) withDLQ(ctx context.Context, flags *dlqFilter, do func(context.Context, *control.Letters, dlq.Filter) error) error {
	filter, err := flags.filter(time.Now())
	if err != nil {
		return err
	}
	queue, done, err := g.openDLQ(ctx)
	if err != nil {
		return err
	}
	defer done()
	return do(ctx, queue, filter)
}
