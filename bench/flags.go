package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// flags are the command line of one mode.
type flags struct {
	*flag.FlagSet
	json string
}

func newFlags(mode string) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("bench "+mode, flag.ContinueOnError)}
	f.StringVar(&f.json, "json", "", "also write the results to this `file`")
	return f
}

// parse reads the command line; no mode but plot takes arguments besides flags.
func (f *flags) parse(args []string) error {
	if err := f.Parse(args); err != nil {
		if err == flag.ErrHelp { //nolint:errorlint // Parse returns it as it is
			return err
		}
		return errUsage
	}
	if f.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "%s: %q is no flag\n", f.Name(), f.Arg(0))
		return errUsage
	}
	return nil
}

// common declares the flags that every measurement understands.
func (f *flags) common(s *setup, timeout time.Duration) {
	f.IntVar(&s.InFlight, "c", 64, "requests in flight: of the bare loop, and of Fanjet if it has one endpoint")
	f.DurationVar(&s.Timeout, "timeout", timeout, "longest time for one measurement")
	f.DurationVar(&s.Scrape, "scrape", time.Second, "how often the metrics are read during a run; 0: never")
	f.variant(&s.variant)
}

// variant declares the flags that say which gateway is measured.
func (f *flags) variant(v *variant) {
	f.BoolFunc("direct", "deliver directly what can be, the default; -direct=false: every delivery is written down first", func(text string) error {
		direct, err := strconv.ParseBool(text)
		v.LogOnly = !direct
		return err
	})
	f.StringVar(&v.Build, "build", "", "measure the gateway of this bench `program`, built from another checkout")
}

// against declares the flag that names another build to compare with.
func (f *flags) against(build *string) {
	f.StringVar(build, "against", "", "compare with the gateway of this bench `program`, built from another checkout")
}

// tiers are durability tiers: fsync, or a sync interval.
type tiers []string

func (t *tiers) String() string { return strings.Join(*t, ",") }

// Set implements [flag.Value].
func (t *tiers) Set(text string) error {
	*t = nil
	for tier := range strings.SplitSeq(text, ",") {
		if _, err := syncInterval(tier); err != nil {
			return fmt.Errorf("%q is neither fsync nor a sync interval such as 1s", tier)
		}
		*t = append(*t, tier)
	}
	return nil
}

// numbers is a list of numbers, separated by commas.
type numbers []int

func (n *numbers) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(*n), " ", ","), "[]")
}

// Set implements [flag.Value].
func (n *numbers) Set(text string) error {
	*n = nil
	for part := range strings.SplitSeq(text, ",") {
		v, err := strconv.Atoi(part)
		if err != nil || v < 0 {
			return fmt.Errorf("%q is not a number", part)
		}
		*n = append(*n, v)
	}
	return nil
}

// words is a list of words, separated by commas; it may be empty.
type words []string

func (w *words) String() string { return strings.Join(*w, ",") }

// Set implements [flag.Value].
func (w *words) Set(text string) error {
	*w = nil
	if text != "" {
		*w = strings.Split(text, ",")
	}
	return nil
}
