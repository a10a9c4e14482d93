package main

import (
	"context"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/topology"
)

// examineAccount compares what is used with the limits of the account, and what is
// needed: so many consumers, and those of lanes.
func examineAccount(ctx context.Context, d *diagnosis, js jetstream.JetStream, consumers int) error {
	info, err := js.AccountInfo(ctx)
	if err != nil {
		return err
	}
	limits := info.Limits
	for _, r := range []struct {
		what        string
		used, limit int64
	}{
		{"storage", int64(info.Store), limits.MaxStore},
		{"streams", int64(info.Streams), int64(limits.MaxStreams)},
		{"consumers", int64(info.Consumers), int64(limits.MaxConsumers)},
	} {
		if r.limit > 0 && r.used >= r.limit-r.limit/5 {
			d.warn("nats", "account", "raise the limit of the account, or remove what is not needed", "%d of %d used of its %s", r.used, r.limit, r.what)
		}
	}
	if most := limits.MaxConsumers; most > 0 && most < consumers+lanesAtOnce {
		d.warn("nats", "account", "raise the limit of the account",
			"it may have %s: Fanjet needs %d, and one for each endpoint that cannot be served with the others, up to %d at once", counted(most, "consumer"), consumers, lanesAtOnce)
	}
	for _, most := range slices.Sorted(maps.Values(ackLimits(info))) {
		if need := topology.MaxAckPending; most > 0 && most < need {
			d.problem("nats", "account", "raise max_ack_pending of the account",
				"a consumer may have %d messages in work, and Fanjet's need up to %d: `fanjet serve` is refused", most, need)
			break
		}
	}
	d.ok("nats", "account", "%s stored, %s, %s", bytesText(info.Store), counted(info.Streams, "stream"), counted(info.Consumers, "consumer"))
	return nil
}

// lanesAtOnce is how many lanes a gateway takes deliveries from at once.
const lanesAtOnce = 128

// ackLimits are the limits of what a consumer may have in work, by the tier of the
// account; an account without tiers has one.
func ackLimits(info *jetstream.AccountInfo) map[string]int {
	limits := map[string]int{"": info.Limits.MaxAckPending}
	for name, tier := range info.Tiers {
		limits[name] = tier.Limits.MaxAckPending
	}
	return limits
}
