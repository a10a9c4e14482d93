package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"fanjet/config"
	"fanjet/gateway"
	"fanjet/internal/runfile"
)

// diagnosis is what `doctor -o json` prints. The lists are never null.
type diagnosis struct {
	Checks   []examined `json:"checks"`
	OK       int        `json:"ok"`
	Warnings int        `json:"warnings"`
	Problems int        `json:"problems"`
}

// examined is what came of one check.
type examined struct {
	Check   string        `json:"check"`             // what was looked at: config, secrets, disk, nats, …
	Subject string        `json:"subject,omitempty"` // which of them
	Status  gateway.Level `json:"status"`
	Message string        `json:"message"`
	Fix     string        `json:"fix,omitempty"` // what to do
}

// add takes up what came of a check; with a format, its arguments follow.
func (d *diagnosis) add(check, subject string, level gateway.Level, fix, format string, args ...any) {
	switch level {
	case gateway.LevelOK:
		d.OK++
	case gateway.LevelWarning:
		d.Warnings++
	case gateway.LevelProblem:
		d.Problems++
	}
	d.Checks = append(d.Checks, examined{
		Check: check, Subject: subject, Status: level, Message: printable(fmt.Sprintf(format, args...)), Fix: fix,
	})
}

// join adds what another one found.
func (d *diagnosis) join(other *diagnosis) {
	d.Checks = append(d.Checks, other.Checks...)
	d.OK += other.OK
	d.Warnings += other.Warnings
	d.Problems += other.Problems
}

func (d *diagnosis) ok(check, subject, format string, args ...any) {
	d.add(check, subject, gateway.LevelOK, "", format, args...)
}

func (d *diagnosis) warn(check, subject, fix, format string, args ...any) {
	d.add(check, subject, gateway.LevelWarning, fix, format, args...)
}

func (d *diagnosis) problem(check, subject, fix, format string, args ...any) {
	d.add(check, subject, gateway.LevelProblem, fix, format, args...)
}

func newDoctorCommand(g *globals) *cobra.Command {
	var only []string
	var timeout time.Duration
	var as role
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, or about to be",
		Long: `Look for what is wrong, or about to be: the configuration, secrets, files and
disk; NATS with its limits, streams and consumers; the gateways that run, and the
clocks; what waits, which endpoints get nothing, and dead letters; and for every
endpoint its name, the egress policy, a connection and its
certificate. Nothing is changed, stored or sent: endpoints get a connection, and no
request.

It works beside a running gateway and without one; what cannot be looked at then, it
says. It is run as the user of nats.credentials, and judges the rights of that user for
the role that it has: gateway, operator, viewer or producer; --role names another one.

Receivers are connected to 32 at a time, and each address once, however many
endpoints have it. The command ends with 0 if there is no problem, with 1 if there is
one; warnings are none.`,
		Example: `  fanjet doctor
  fanjet doctor --endpoint billing --endpoint crm
  fanjet doctor --config operator.yaml --role operator
  fanjet doctor -o json`,
	}
	cmd.Flags().StringArrayVar(&only, "endpoint", nil, "look at this `NAME` only, of the endpoints; may be repeated")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long to wait for one receiver, or one answer of NATS")
	cmd.Flags().Var(&as, "role", "judge the rights of the NATS user for this role: gateway, operator, viewer or producer; by default the one that they fit")
	completeWords(cmd, "role", roleWords()...)
	_ = cmd.RegisterFlagCompletionFunc("endpoint", g.completeEndpoints(0)) // the flag is there
	out := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if timeout <= 0 || timeout > time.Hour {
			return usagef("--timeout %v: must be more than 0 and at most 1h", timeout)
		}
		d := &diagnosis{Checks: []examined{}}
		if err := g.examine(cmd.Context(), d, only, timeout, as); err != nil {
			return err
		}
		if err := d.print(g.out, out); err != nil {
			return err
		}
		if d.Problems > 0 {
			return errSilent
		}
		return nil
	}
	return cmd
}

// examine makes all checks.
func (g *globals) examine(ctx context.Context, d *diagnosis, only []string, timeout time.Duration, as role) error {
	cfg, err := g.examineConfig(d)
	if err != nil || cfg == nil {
		return err
	}
	endpoints, err := chosenEndpoints(cfg, only)
	if err != nil {
		return err
	}
	examineSecrets(d, cfg)
	examineDisk(d, cfg)
	var nats, receivers diagnosis
	if len(endpoints) > manyEndpoints {
		fmt.Fprintf(g.err, "connecting to the receivers of %d endpoints, %d at a time\n", len(endpoints), probesAtOnce)
	}
	var running sync.WaitGroup
	running.Go(func() { g.examineNATS(ctx, &nats, cfg, timeout, as) })
	running.Go(func() { examineEndpoints(ctx, &receivers, cfg, endpoints, timeout) })
	running.Wait()
	d.join(&nats)
	d.join(&receivers)
	return ctx.Err()
}

// examineConfig loads the configuration. When it cannot be used, the result is what
// could be read, without secrets; when that does not say where NATS is, it is nil.
func (g *globals) examineConfig(d *diagnosis) (*config.Config, error) {
	cfg, err := g.loadConfig(config.Options{})
	problems, refused := errors.AsType[*config.Errors](err)
	switch {
	case refused:
		const fix = "correct it; `fanjet check` shows the same"
		for _, p := range problems.Problems {
			d.problem("config", place(p), fix, "%s", p.Message)
		}
		for _, p := range problems.Warnings {
			d.warn("config", place(p), "", "%s", p.Message)
		}
		cfg, file, warnings, err := g.readClient()
		if err != nil {
			d.warn("config", g.config, "", "nothing else can be looked at: %v", lastLine(err))
			return nil, nil
		}
		if file == "" {
			d.warn("config", g.config, "", "the rest is looked at as far as it could be read")
		}
		for _, w := range warnings[min(1, len(warnings)):] { // the first says what is shown already
			d.warn("config", g.config, "", "%s", w)
		}
		return cfg, nil
	case err != nil:
		return nil, err
	}
	for _, p := range cfg.Warnings {
		d.warn("config", place(p), "", "%s", p.Message)
	}
	d.ok("config", g.config, "%s, %s", counted(len(cfg.Endpoints), "endpoint"), counted(len(cfg.Subscriptions), "subscription"))
	if running := runfile.Find(g.config, runfile.Folders()); len(running) > 0 {
		c := config.Client{Config: cfg, NATSKnown: true, AdminKnown: true}
		for _, w := range preferRunning(&c, running[0].NATS, g) {
			d.warn("config", g.config, "restart the gateway when it suits", "%s", w)
		}
	}
	return cfg, nil
}

// lastLine is the end of an error whose other lines are shown already.
func lastLine(err error) string {
	text := err.Error()
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// place is where in a file a problem is.
func place(p config.Problem) string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// print shows what was found.
func (d *diagnosis) print(w io.Writer, out *output) error {
	if out.json() {
		return writeJSON(w, d)
	}
	table := newTable(w)
	fmt.Fprintln(table, "CHECK\tSTATUS\tWHAT")
	for _, c := range d.Checks {
		what := c.Message
		if c.Subject != "" {
			what = printable(c.Subject) + ": " + what
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", c.Check, c.Status, what)
		if c.Fix != "" {
			fmt.Fprintf(table, "\t\t→ %s\n", c.Fix)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d ok, %s, %s\n", d.OK, counted(d.Warnings, "warning"), counted(d.Problems, "problem"))
	return nil
}
