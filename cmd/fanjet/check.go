package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"fanjet/config"
)

// checkReport is what `check -o json` prints.
type checkReport struct {
	Errors   []config.Problem `json:"errors"`
	Warnings []config.Problem `json:"warnings"`
}

func newCheckCommand(g *globals) *cobra.Command {
	var noSecrets bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration file and show everything that is wrong with it",
		Long: `Check the configuration file, with everything that it includes, and show all
that is wrong with it. Nothing is connected to. It ends with 0 if the gateway
would start with this file; warnings do not change that.`,
		Example: `  fanjet check
  fanjet check --config prod.yaml --no-secrets -o json`,
	}
	cmd.Flags().BoolVar(&noSecrets, "no-secrets", false, "do not read the secrets that env: and file: refer to, on a machine that lacks them")
	out := addOutputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := g.loadConfig(config.Options{NoSecrets: noSecrets})
		report := newCheckReport(g.config, cfg, err)
		if out.json() {
			if err := writeJSON(g.out, report); err != nil {
				return err
			}
		} else {
			g.printCheck(cfg, report)
		}
		if len(report.Errors) > 0 {
			return errSilent
		}
		return nil
	}
	return cmd
}

// newCheckReport makes a report of what [config.Load] returned for path. The
// lists are empty rather than null.
func newCheckReport(path string, cfg *config.Config, err error) checkReport {
	report := checkReport{Errors: []config.Problem{}, Warnings: []config.Problem{}}
	if err == nil {
		report.Warnings = append(report.Warnings, cfg.Warnings...)
		return report
	}
	problems, ok := errors.AsType[*config.Errors](err)
	if !ok {
		problems = &config.Errors{Problems: []config.Problem{{File: path, Message: err.Error()}}}
	}
	report.Errors = append(report.Errors, problems.Problems...)
	report.Warnings = append(report.Warnings, problems.Warnings...)
	return report
}

func (g *globals) printCheck(cfg *config.Config, report checkReport) {
	for _, p := range report.Errors {
		fmt.Fprintln(g.err, p)
	}
	for _, p := range report.Warnings {
		p.Message = "warning: " + p.Message
		fmt.Fprintln(g.err, p)
	}
	if len(report.Errors) > 0 {
		fmt.Fprintf(g.err, "%s cannot be used: %s\n", g.config, counted(len(report.Errors), "error"))
		return
	}
	fmt.Fprintf(g.out, "%s is valid: %s, %s\n", g.config,
		counted(len(cfg.Endpoints), "endpoint"), counted(len(cfg.Subscriptions), "subscription"))
}
