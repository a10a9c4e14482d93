package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
)

// backlogResult is what draining a long backlog took.
type backlogResult struct {
	setup
	figures
}

func backlogCommand(ctx context.Context, args []string) error {
	f := newFlags("backlog")
	s := setup{Size: 1024}
	f.common(&s, 20*time.Minute)
	f.IntVar(&s.Events, "n", 1_000_000, "deliveries that wait")
	f.IntVar(&s.Size, "size", s.Size, "bytes of an event")
	t, replicas := tiers{"fsync"}, numbers{0, 1}
	f.Var(&t, "tiers", "durability tiers: fsync, or a sync interval")
	f.Var(&replicas, "replicas", "gateway processes beside a separate NATS server; 0: one, with the server inside")
	against := ""
	f.against(&against)
	if err := f.parse(args); err != nil {
		return err
	}
	variants := []variant{s.variant}
	if against != "" {
		variants = []variant{{Build: against}, s.variant}
	}
	r := newReport()
	err := r.backlog(ctx, s, t, replicas, variants)
	if e := r.write(f.json); err == nil {
		err = e
	}
	return err
}

// backlog drains many events to one endpoint and reads the peak of the memory,
// for each of some variants.
func (r *report) backlog(ctx context.Context, s setup, t tiers, replicas numbers, variants []variant) error {
	fmt.Printf("Draining %d deliveries of %d bytes; the most memory in MiB. %s\n", s.Events, s.Size, r.Machine)
	table := newTable(os.Stdout, 12, "durability", "build", "replicas", "gateway", "NATS", "fanjet/s", "diverted", "missing", "repeated")
	var bad faults
	for _, tier := range t {
		for _, count := range replicas {
			for _, v := range variants {
				s.Tier, s.Replicas, s.variant = tier, count, v
				f, err := drain(ctx, gatewayKind, s, evenPlan(1, 1, s.InFlight))
				if err != nil {
					return err
				}
				server := "inside"
				if count > 0 {
					server = megabytes(f.ServerRSS)
				}
				table.row(tier, s.build(), strconv.Itoa(count), megabytes(f.PeakRSS), server, whole(f.PerSecond), strconv.Itoa(f.Diverted),
					strconv.Itoa(f.Missing), strconv.Itoa(f.Repeated+f.Strange))
				bad.add(f.faults)
				r.Backlog = append(r.Backlog, backlogResult{setup: s, figures: f})
			}
		}
	}
	return bad.err()
}
