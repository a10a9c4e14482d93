// Command bench measures how fast Fanjet drains a preloaded stream, side by side
// with a bare loop that does the least that a signed delivery needs: pull from
// JetStream, sign, POST, ack.
//
//	go run ./bench                   5 pairs for each durability tier
//	go run ./bench -pairs 1 -tiers fsync
//	go run ./bench -json bench.json
//
// Each measurement is a process of its own, with an embedded NATS server in a
// fresh folder; the receiver is another process on the same machine. Runs
// alternate, bare loop and Fanjet, and the ratio is taken pair by pair, so that
// a machine whose speed drifts tells the same ratio.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// setup is what one measurement runs with.
type setup struct {
	Events   int           `json:"events"`
	Size     int           `json:"size"`      // bytes of a body
	InFlight int           `json:"in_flight"` // requests at once
	Tier     string        `json:"tier"`      // fsync, or a sync interval
	Sink     string        `json:"-"`         // URL of the receiver
	Timeout  time.Duration `json:"-"`
}

// figures are what one measurement found.
type figures struct {
	PerSecond float64 `json:"per_second"`  // deliveries acknowledged
	CPUPer10k float64 `json:"cpu_per_10k"` // CPU seconds of the process, for 10,000 deliveries
}

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 && os.Args[1] == "sink" {
		log.Fatal(runSink())
	}
	var s setup
	flag.IntVar(&s.Events, "n", 50_000, "events to drain")
	flag.IntVar(&s.Size, "size", 1024, "bytes of an event")
	flag.IntVar(&s.InFlight, "c", 64, "requests in flight")
	flag.DurationVar(&s.Timeout, "timeout", 3*time.Minute, "longest time for one measurement")
	pairs := flag.Int("pairs", 5, "pairs of runs for each tier")
	tiers := flag.String("tiers", "fsync,1s", "durability tiers")
	out := flag.String("json", "", "also write the results to this file")
	mode := flag.String("mode", "", "make one measurement, bare or fanjet (used by the program itself)")
	flag.StringVar(&s.Tier, "tier", "fsync", "durability tier of one measurement")
	flag.StringVar(&s.Sink, "sink", "", "receiver of one measurement")
	profile := flag.String("cpuprofile", "", "write a CPU profile of one measurement to this file")
	flag.Parse()

	if *mode != "" {
		if err := measure(*mode, *profile, s); err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := compare(s, *pairs, strings.Split(*tiers, ","), *out); err != nil {
		log.Fatal(err)
	}
}

// measure makes one measurement and prints it as JSON.
func measure(mode, profile string, s setup) error {
	var f figures
	var err error
	if profile != "" {
		file, err := os.Create(profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	switch mode {
	case "bare":
		f, err = drainBare(s)
	case "fanjet":
		f, err = drainFanjet(s)
	default:
		err = fmt.Errorf("unknown mode %q", mode)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// pair is a run of each, one after the other.
type pair struct {
	Tier   string  `json:"tier"`
	Bare   figures `json:"bare"`
	Fanjet figures `json:"fanjet"`
}

func compare(s setup, pairs int, tiers []string, out string) error {
	sink, stop, err := startSink()
	if err != nil {
		return err
	}
	defer stop()
	s.Sink = sink

	fmt.Printf("%d events of %d bytes to one endpoint, %d in flight, %d CPUs, %s %s\n",
		s.Events, s.Size, s.InFlight, runtime.NumCPU(), runtime.Version(), runtime.GOARCH)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "durability\tbare loop/s\tfanjet/s\tratio\tCPU s/10k bare\tCPU s/10k fanjet\tratio\t")
	var all []pair
	for _, tier := range tiers {
		s.Tier = tier
		var ofTier []pair
		for range pairs {
			p := pair{Tier: tier}
			if p.Bare, err = inProcess("bare", s); err != nil {
				return err
			}
			if p.Fanjet, err = inProcess("fanjet", s); err != nil {
				return err
			}
			row(w, tier, []pair{p})
			ofTier = append(ofTier, p)
		}
		row(w, tier+" median", ofTier)
		all = append(all, ofTier...)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if out == "" {
		return nil
	}
	text, err := json.MarshalIndent(map[string]any{"setup": s, "cpus": runtime.NumCPU(), "go": runtime.Version(), "pairs": all}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644)
}

// row writes the medians of some pairs; the ratios are medians of ratios.
func row(w io.Writer, name string, pairs []pair) {
	median := func(of func(pair) float64) float64 {
		v := make([]float64, len(pairs))
		for i, p := range pairs {
			v[i] = of(p)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", name,
		median(func(p pair) float64 { return p.Bare.PerSecond }), median(func(p pair) float64 { return p.Fanjet.PerSecond }),
		median(func(p pair) float64 { return p.Fanjet.PerSecond / p.Bare.PerSecond }),
		median(func(p pair) float64 { return p.Bare.CPUPer10k }), median(func(p pair) float64 { return p.Fanjet.CPUPer10k }),
		median(func(p pair) float64 { return p.Fanjet.CPUPer10k / p.Bare.CPUPer10k }))
}

// inProcess makes a measurement in a process of its own.
func inProcess(mode string, s setup) (figures, error) {
	self, err := os.Executable()
	if err != nil {
		return figures{}, err
	}
	cmd := exec.Command(self, "-mode", mode, "-tier", s.Tier, "-sink", s.Sink, "-timeout", s.Timeout.String(),
		"-n", fmt.Sprint(s.Events), "-size", fmt.Sprint(s.Size), "-c", fmt.Sprint(s.InFlight))
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return figures{}, fmt.Errorf("measuring %s: %w", mode, err)
	}
	var f figures
	return f, json.Unmarshal(text, &f)
}
