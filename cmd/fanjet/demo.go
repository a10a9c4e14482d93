package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"fanjet/dlq"
	"fanjet/gateway"
	"fanjet/internal/broker"
	"fanjet/internal/wire"
	"fanjet/webhook"
)

func newDemoCommand(g *globals) *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show all of it in one process",
		Long: `Show all of it in one process, with no configuration: a gateway with its NATS
server in a temporary folder, a receiver that verifies signatures, and sample
events of four kinds. One endpoint fails, exhausts its attempts, lands in the
dead-letter queue, heals, and is replayed. Then the gateway keeps running, for
you to publish to, until you interrupt it.

With --once it ends after the tour: with 0 when everything happened as it
should, with 1 otherwise.`,
		Example: "  fanjet demo\n  fanjet demo --once",
	}
	cmd.Flags().BoolVar(&once, "once", false, "end after the tour")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		err := runDemo(ctx, g, once)
		switch {
		case ctx.Err() == nil || !errors.Is(err, context.Canceled):
			return err
		case once:
			return errors.New("interrupted before the end of the tour")
		}
		return nil
	}
	return cmd
}

// stepTimeout bounds every wait of the tour.
const stepTimeout = 30 * time.Second

// demo is a tour in progress.
type demo struct {
	out      io.Writer
	receiver *demoReceiver
	nats     broker.Settings
	config   string              // path of the configuration
	js       jetstream.JetStream // of a producer, who needs no credentials
	letters  *dlq.Queue
	step     int
	began    time.Time
}

func runDemo(ctx context.Context, g *globals, once bool) error {
	dir, err := demoFolder()
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	d := &demo{out: g.out, began: time.Now()}
	secret := webhook.NewSecret()
	if d.receiver, err = startDemoReceiver(secret); err != nil {
		return err
	}
	defer d.receiver.close()

	cfg, text, err := demoConfig(dir, secret, d.receiver.addr())
	if err != nil {
		return err
	}
	d.nats, d.config = cfg.NATS, filepath.Join(dir, "fanjet.yaml")
	fmt.Fprintf(d.out, "Fanjet %s. This is the whole configuration of the tour:\n\n%s\n", currentBuild().Version, indent(text))

	log := g.logger()
	if g.logLevel != "debug" { // the tour speaks for itself, and its dead letters are no news
		log = log.WithOptions(zap.IncreaseLevel(zapcore.ErrorLevel))
	}
	gw, err := gateway.New(gateway.Options{Config: cfg, Version: currentBuild().Version, Log: log, Registry: newRegistry(), Grace: 5 * time.Second})
	if err != nil {
		return err
	}
	runCtx, stopGateway := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(runCtx) }()

	err = d.tour(ctx, gw, ended)
	if err == nil && !once {
		err = d.stay(ctx, gw, ended)
	}
	stopGateway()
	select {
	case runErr := <-ended:
		return errors.Join(err, runErr)
	case <-time.After(stepTimeout):
		return errors.Join(err, errors.New("the gateway does not stop"))
	}
}

// tour walks through everything; an error says what did not happen.
func (d *demo) tour(ctx context.Context, gw *gateway.Gateway, ended chan error) error {
	select {
	case <-gw.Started():
	case err := <-ended:
		ended <- nil
		if err == nil {
			err = context.Canceled
		}
		return fmt.Errorf("the gateway did not start: %w", err)
	case <-time.After(stepTimeout):
		return fmt.Errorf("the gateway did not start: %w", gw.Ready())
	}
	producer, err := nats.Connect(gw.NATSURL(), nats.Name("fanjet demo, producer"))
	if err != nil {
		return fmt.Errorf("cannot connect to the NATS server of the gateway: %w", err)
	}
	defer producer.Close()
	if d.js, err = jetstream.New(producer); err != nil {
		return err
	}
	operator, err := broker.Connect(ctx, d.nats, broker.ConnectOptions{Name: "fanjet demo, operator", NoWait: true})
	if err != nil {
		return err
	}
	defer operator.Close()
	js, err := jetstream.New(operator)
	if err != nil {
		return err
	}
	if d.letters, err = dlq.Open(ctx, js, wire.NewNames("")); err != nil {
		return err
	}
	d.say("The gateway runs. Its NATS server is at %s, its metrics at http://%s/metrics.", gw.NATSURL(), gw.AdminAddr())

	for _, do := range []func(context.Context) error{d.publish, d.deliver, d.deadLetter, d.replay, d.account} {
		if err := do(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err() // interrupted
			}
			fmt.Fprintf(d.out, "\n   FAILED: %v\n", err)
			return errSilent
		}
	}
	return nil
}

func (d *demo) publish(ctx context.Context) error {
	d.say("Publishing %d events, as any NATS client would. The chat bot is down at the moment.", len(demoEvents))
	d.receiver.setDown("chat-bot", true)
	for _, e := range demoEvents {
		ctx, cancel := context.WithTimeout(ctx, stepTimeout)
		ack, err := d.js.Publish(ctx, e.subject, []byte(e.data), jetstream.WithMsgID(e.id))
		cancel()
		if err != nil {
			return fmt.Errorf("publishing %s: %w", e.id, err)
		}
		to := strings.Join(e.endpoints, ", ")
		if to == "" {
			to = "nobody: " + e.why
		}
		fmt.Fprintf(d.out, "   %s/%d  %-27s %-52s for %s\n", ack.Stream, ack.Sequence, e.subject, e.data, to)
	}
	return nil
}

func (d *demo) deliver(ctx context.Context) error {
	d.say("Deliveries arrive as signed webhooks; the receiver verifies each.")
	want := demoPairs(func(endpoint string) bool { return endpoint != "chat-bot" })
	return d.await(ctx, want, "delivered")
}

func (d *demo) deadLetter(ctx context.Context) error {
	want := len(demoPairs(func(endpoint string) bool { return endpoint == "chat-bot" }))
	d.say("The chat bot answers 503. Its %d deliveries are retried, twice each, and then end in the dead-letter queue.", want)
	for deadline := time.Now().Add(stepTimeout); ; {
		n, err := d.letters.Count(ctx, dlq.Filter{Endpoint: "chat-bot"})
		if err != nil {
			return err
		}
		if n == want {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d dead letters after %v, not %d", n, stepTimeout, want)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	for letter, err := range d.letters.List(ctx, dlq.Filter{}) {
		if err != nil {
			return err
		}
		if letter.Endpoint != "chat-bot" || letter.Reason != dlq.ReasonExhausted || letter.Attempts != 3 || letter.LastStatus != 503 {
			return fmt.Errorf("unexpected dead letter %+v", letter)
		}
		fmt.Fprintf(d.out, "   letter %d  %s  %s  %s after %d attempts: %s\n",
			letter.Seq, letter.EventID, letter.Subject, letter.Reason, letter.Attempts, letter.LastError)
	}
	return nil
}

func (d *demo) replay(ctx context.Context) error {
	d.say("The chat bot is up again. Replaying its dead letters.")
	d.receiver.setDown("chat-bot", false)
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	outcome, err := d.letters.Replay(ctx, dlq.Filter{Endpoint: "chat-bot"}, dlq.ReplayOptions{})
	if err != nil {
		return err
	}
	if outcome.Failed > 0 || outcome.Skipped > 0 {
		return fmt.Errorf("replay: %+v", outcome)
	}
	want := demoPairs(func(endpoint string) bool { return endpoint == "chat-bot" })
	return d.await(ctx, want, "delivered after the replay, with the same webhook-id")
}

// account compares everything that arrived with everything that should have.
func (d *demo) account(ctx context.Context) error {
	left, err := d.letters.Count(ctx, dlq.Filter{})
	if err != nil {
		return err
	}
	report := d.receiver.report()
	problems := report.problems(demoPairs(func(string) bool { return true }))
	if left > 0 {
		problems = append(problems, fmt.Sprintf("%d dead letters are left", left))
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	d.say("Done in %.1f s: %d events, %d deliveries, each exactly once, %d failed attempts, 0 lost, every signature right.",
		time.Since(d.began).Seconds(), len(demoEvents), report.delivered, report.failed)
	return nil
}

// await waits until every pair was delivered, and shows them.
func (d *demo) await(ctx context.Context, want []demoPair, how string) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	for _, pair := range want {
		hook, err := d.receiver.waitFor(ctx, pair)
		if err != nil {
			return fmt.Errorf("%s was not delivered to %s within %v", pair.event, pair.endpoint, stepTimeout)
		}
		fmt.Fprintf(d.out, "   %-13s %s  %-27s attempt %s  %s\n", pair.endpoint, hook.id, hook.subject, hook.attempt, how)
	}
	return nil
}

// stay keeps the gateway running until an interrupt.
func (d *demo) stay(ctx context.Context, gw *gateway.Gateway, ended chan error) error {
	d.say("The gateway keeps running; interrupt it (Ctrl-C) to end. In another terminal, try:")
	fmt.Fprintf(d.out, `
     bin/fanjet publish events.chat.ops.message --data '{"text": "hello"}' --nats %s
     bin/fanjet dlq stats --config %s
     curl http://%s/readyz

`, gw.NATSURL(), d.config, gw.AdminAddr())
	d.receiver.follow(d.out)
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		ended <- nil
		return err
	}
}

func (d *demo) say(format string, args ...any) {
	d.step++
	fmt.Fprintf(d.out, "\n%d. "+format+"\n", append([]any{d.step}, args...)...)
}

func indent(text string) string {
	return "   " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n   ") + "\n"
}
