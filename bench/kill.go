package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
)

// killResult is what comes twice after a kill, in one setup of one build.
type killResult struct {
	setup
	Fanout int         `json:"fanout"`
	Answer float64     `json:"answer_ms"` // how long the receiver takes
	Slots  int         `json:"slots"`     // attempts that may be made at once: max_in_flight by endpoints
	Rounds []killRound `json:"rounds"`

	// Over all rounds. What comes twice may come after the next kill, so that
	// it is known of a round and not of a kill.
	RepeatsPerKill float64 `json:"repeats_per_kill"`
	PerSlot        float64 `json:"repeats_per_slot"`      // of a kill
	PerInFlight    float64 `json:"repeats_per_in_flight"` // the gateway's own count, of a kill
	PerSecond      float64 `json:"per_second"`            // median
	// Against is repeats per kill by those of the other build, if it had any.
	Against float64 `json:"against,omitempty"`
}

// killSetup is how the kills are measured.
type killSetup struct {
	setup
	Tiers    tiers
	Fanouts  numbers
	Replicas numbers
	Rounds   int
	Kills    int
	Against  string
}

func (s *killSetup) defaults() {
	s.setup = setup{Size: 1024, InFlight: 64, Events: 60_000, Timeout: 3 * time.Minute, Scrape: time.Second}
	s.Tiers, s.Fanouts, s.Replicas = tiers{"fsync"}, numbers{1, 10}, numbers{1, 0}
	s.Rounds, s.Kills = 3, 5
}

func killCommand(ctx context.Context, args []string) error {
	f := newFlags("kill")
	var s killSetup
	s.defaults()
	f.common(&s.setup, s.Timeout)
	f.IntVar(&s.Events, "n", s.Events, "deliveries of a round")
	f.IntVar(&s.Size, "size", s.Size, "bytes of an event")
	f.DurationVar(&s.Answer, "answer", 0, "how long the receiver takes to answer")
	f.IntVar(&s.Rounds, "rounds", s.Rounds, "rounds for each row")
	f.IntVar(&s.Kills, "kills", s.Kills, "kills in a round, evenly spread")
	f.Var(&s.Tiers, "tiers", "durability tiers: fsync, or a sync interval")
	f.Var(&s.Fanouts, "fanout", "endpoints that get each event")
	f.Var(&s.Replicas, "replicas", "gateway processes beside a NATS server that lives on, killed together; 0: one, with the server inside, which dies, too")
	f.against(&s.Against)
	if err := f.parse(args); err != nil {
		return err
	}
	r := newReport()
	err := r.kill(ctx, s)
	if e := r.write(f.json); err == nil {
		err = e
	}
	return err
}

// kill measures every setup. What comes twice is what is measured; what is
// missing is an error.
func (r *report) kill(ctx context.Context, s killSetup) error {
	fmt.Printf("Deliveries of %d that %d kills -9 of the gateway repeat, or of all with the NATS server inside. %s\n", s.Events, s.Kills, r.Machine)
	t := newTable(os.Stdout, 16, "durability", "build", "server", "fan-out", "slots", "in flight", "open",
		"deliveries/s", "missing", "strange", "repeated", "a kill", "by slots", "by in flight")
	var bad faults
	for _, tier := range s.Tiers {
		for _, replicas := range s.Replicas {
			for _, fanout := range s.Fanouts {
				row := s.setup
				row.Tier, row.Replicas, row.Events = tier, replicas, max(1, s.Events/max(1, fanout))
				results, err := s.rounds(ctx, t, row, max(1, fanout))
				if err != nil {
					return err
				}
				for _, result := range results {
					for _, round := range result.Rounds {
						bad.add(faults{Missing: round.Missing, Strange: round.Strange})
					}
				}
				r.Kill = append(r.Kill, results...)
			}
		}
	}
	return bad.err()
}

// rounds makes those of one setup: of this build, and of the other in turn with
// it.
func (s killSetup) rounds(ctx context.Context, t *table, row setup, fanout int) ([]killResult, error) {
	p := evenPlan(1, fanout, row.InFlight)
	ours := killResult{setup: row, Fanout: fanout, Answer: row.Answer.Seconds() * 1e3, Slots: p.MaxInFlight * fanout}
	other := ours
	other.variant = variant{Build: s.Against}
	round := func(result *killResult) func() error {
		return func() error {
			got, err := killRun(ctx, result.setup, p, s.Kills)
			if err != nil {
				return err
			}
			result.Rounds = append(result.Rounds, got)
			one := *result
			one.Rounds = []killRound{got}
			one.summarize()
			one.print(t, row.Tier)
			return nil
		}
	}
	for i := range s.Rounds {
		against := func() error { return nil }
		if s.Against != "" {
			against = round(&other)
		}
		if err := inTurn(i, against, round(&ours)); err != nil {
			return nil, err
		}
	}
	results := []killResult{ours}
	if s.Against != "" {
		results = append(results, other)
	}
	for i := range results {
		results[i].summarize()
		results[i].print(t, row.Tier+" all")
	}
	if s.Against != "" && results[1].RepeatsPerKill > 0 {
		results[0].Against = results[0].RepeatsPerKill / results[1].RepeatsPerKill
		t.row(row.Tier+" ratio", "", "", "", "", "", "", two(results[0].PerSecond/results[1].PerSecond), "", "", "", two(results[0].Against))
	}
	return results, nil
}

func (r *killResult) summarize() {
	f, points := r.totals()
	r.PerSecond = median(r.Rounds, func(k killRound) float64 { return k.PerSecond })
	if len(points) == 0 {
		return
	}
	kills := float64(len(points))
	r.RepeatsPerKill = float64(f.Repeated) / kills
	r.PerSlot = r.RepeatsPerKill / float64(r.Slots)
	if n := mean(points, func(p killPoint) int { return p.InFlight }); n > 0 {
		r.PerInFlight = r.RepeatsPerKill / n
	}
}

// totals are the faults and the kills of all rounds.
func (r *killResult) totals() (f faults, points []killPoint) {
	for _, round := range r.Rounds {
		f.add(round.faults)
		points = append(points, round.Kills...)
	}
	return f, points
}

func (r *killResult) print(t *table, name string) {
	f, points := r.totals()
	server := "beside"
	if r.Replicas == 0 {
		server = "inside"
	}
	t.row(name, r.build(), server, strconv.Itoa(r.Fanout), strconv.Itoa(r.Slots),
		whole(mean(points, func(p killPoint) int { return p.InFlight })), whole(mean(points, func(p killPoint) int { return p.Open })),
		whole(r.PerSecond), strconv.Itoa(f.Missing), strconv.Itoa(f.Strange), strconv.Itoa(f.Repeated),
		whole(r.RepeatsPerKill), two(r.PerSlot), two(r.PerInFlight))
}
