package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fanjet/config"
)

// checkReport is what `check -o json` prints.
type checkReport struct {
	Errors   []config.Problem `json:"errors"`
	Warnings []config.Problem `json:"warnings"`
}

func newCheckCommand(g *globals) *cobra.Command {
	var noSecrets, strict bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration file and show everything that is wrong with it",
		Long: `Check the configuration file, with everything that it includes, and show all
that is wrong with it. Nothing is connected to. It ends with 0 if the gateway
would start with this file; warnings do not change that, unless --strict says so.

-o github prints annotations that GitHub shows beside the lines of a pull request.`,
		Example: `  fanjet check
  fanjet check --strict --no-secrets -o github
  fanjet check --config prod.yaml --no-secrets -o json`,
	}
	cmd.Flags().BoolVar(&noSecrets, "no-secrets", false, "do not read the secrets that env: and file: refer to, on a machine that lacks them")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings are errors: end with 1 if there are any")
	out := addOutputWords(cmd, "table for people, json for programs, github for its workflows", "table", "json", "github")
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := g.loadConfig(config.Options{NoSecrets: noSecrets})
		report := newCheckReport(g.config, cfg, err)
		failed := len(report.Errors) > 0 || strict && len(report.Warnings) > 0
		switch out.format {
		case "json":
			if err := writeJSON(g.out, report); err != nil {
				return err
			}
		case "github":
			g.printAnnotations(report)
		default:
			g.printCheck(cfg, report, strict)
		}
		if failed {
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

func (g *globals) printCheck(cfg *config.Config, report checkReport, strict bool) {
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
	if strict && len(report.Warnings) > 0 {
		fmt.Fprintf(g.err, "%s can be used, but has %s, and --strict wants none\n", g.config, counted(len(report.Warnings), "warning"))
		return
	}
	fmt.Fprintf(g.out, "%s is valid: %s, %s\n", g.config,
		counted(len(cfg.Endpoints), "endpoint"), counted(len(cfg.Subscriptions), "subscription"))
}

// printAnnotations prints workflow commands of GitHub Actions, which it shows at the lines
// that they name (docs.github.com, "Workflow commands for GitHub Actions").
func (g *globals) printAnnotations(report checkReport) {
	text := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	annotate := func(level string, problems []config.Problem) {
		for _, p := range problems {
			at := "file=" + property.Replace(p.File)
			if p.Line > 0 {
				at += fmt.Sprintf(",line=%d,col=%d", p.Line, p.Column)
			}
			fmt.Fprintf(g.out, "::%s %s::%s\n", level, at, text.Replace(p.Message))
		}
	}
	annotate("error", report.Errors)
	annotate("warning", report.Warnings)
}
