package topology

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/config"
	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// Plan is a stream that the gateway needs, and its consumer if it has one.
type Plan struct {
	Want     jetstream.StreamConfig
	Consumer *jetstream.ConsumerConfig

	create bool // make it when it is missing
	Source bool
	// fromConfig says that max_age and max_bytes are settings of the user.
	fromConfig bool
	bucket     *jetstream.KeyValueConfig // of a key-value bucket
	// audit marks the record of what operators did. Deliveries do not depend on
	// it: what is wrong with it is logged, and stops nothing.
	audit bool
}

// PlanFor lists what the configuration needs, the sources first.
func PlanFor(names wire.Names, cfg *config.Config, maxPayload int64) []Plan {
	replicas := max(cfg.NATS.Replicas, 1)
	matching, deliver, due := MatchConsumer(names), DeliverConsumer(names), DueConsumer(names)
	bucket := StateBucket(names, replicas)
	var plans []Plan
	for _, source := range cfg.Sources {
		plans = append(plans, Plan{
			Want: SourceStream(source, replicas, maxPayload), Consumer: &matching, create: source.Create, Source: true,
		})
	}
	own := []Plan{
		{Want: DeliveriesStream(names, replicas), Consumer: &deliver, create: true},
		{Want: RetriesStream(names, replicas), Consumer: &due, create: true},
		{Want: LanesStream(names, replicas), create: true},
		{Want: DeadLettersStream(names, cfg.DeadLetters, replicas), create: true, fromConfig: true},
		{Want: StateStream(names, replicas), create: true, bucket: &bucket},
		{Want: AuditStream(names, replicas), create: true, audit: true},
	}
	bucket.Metadata = wire.StoredMetadata(wire.StoredWritten)
	for i := range own {
		own[i].Want.Metadata = wire.StoredMetadata(wire.StoredWritten)
	}
	return append(plans, own...)
}

// Ensure makes the streams and consumers that are missing and sets
// right what may be changed in those that exist. It first looks at all of them:
// if one cannot be used without losing events, nothing is touched, and the error
// names every problem and its remedy ([IsRefusal]), or, as a [wire.NewerError], only
// that a newer Fanjet stored what is there. Any other error passes by itself.
// Nothing is ever deleted or made a second time. A second call changes nothing.
func Ensure(ctx context.Context, js jetstream.JetStream, names wire.Names, cfg *config.Config, log *zap.Logger) error {
	plans := PlanFor(names, cfg, js.Conn().MaxPayload())
	reviews := make([]*review, len(plans)) // nil: missing
	errs := []error{CheckSourceNames(plans)}
	unrecorded := false
	report := func(p *Plan, err error) {
		switch {
		case err == nil:
		case p.audit && IsRefusal(err):
			unrecorded = true
			log.Error("what operators do cannot be recorded", zap.Error(err))
		default:
			errs = append(errs, err)
		}
	}
	for i := range plans {
		var err error
		reviews[i], err = plans[i].Inspect(ctx, js)
		report(&plans[i], err)
	}
	if err := joined(errs); err != nil {
		return err
	}
	for i := range plans {
		if p := &plans[i]; !p.audit || !unrecorded {
			report(p, p.apply(ctx, js, reviews[i], log))
		}
	}
	return errors.Join(errs...)
}

// Check looks at every stream and consumer, changes nothing, and
// reports what is missing or not as it must be.
func Check(ctx context.Context, js jetstream.JetStream, names wire.Names, cfg *config.Config) error {
	var errs []error
	for _, p := range PlanFor(names, cfg, js.Conn().MaxPayload()) {
		if p.audit {
			continue
		}
		found, err := p.Inspect(ctx, js)
		if err == nil && found == nil {
			err = fmt.Errorf("stream %s: %w", p.Want.Name, jetstream.ErrStreamNotFound)
		}
		errs = append(errs, err)
		if err != nil || p.Consumer == nil {
			continue
		}
		consumer, err := js.Consumer(ctx, p.Want.Name, p.Consumer.Durable)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", ConsumerObject(p.Want.Name, p.Consumer.Durable), err))
			continue
		}
		errs = append(errs, CheckPaused(consumer.CachedInfo()))
	}
	return joined(errs)
}

// joined joins what was found wrong. If a newer Fanjet stored what is there, that is
// all there is to say, and it is said once: what else differs may be as it must be.
func joined(errs []error) error {
	var newer *wire.NewerError
	for _, err := range errs {
		if found, ok := errors.AsType[*wire.NewerError](err); ok {
			newer = newer.Join(found)
		}
	}
	if newer != nil {
		return newer
	}
	return errors.Join(errs...)
}

// CheckSourceNames refuses a source that is one of our own streams: events
// would go round in circles.
func CheckSourceNames(plans []Plan) error {
	own := make(map[string]bool)
	for _, p := range plans {
		own[p.Want.Name] = own[p.Want.Name] || !p.Source
	}
	var errs []error
	for _, p := range plans {
		if p.Source && own[p.Want.Name] {
			errs = append(errs, &Refusal{
				Object: "source " + p.Want.Name, What: "it is one of Fanjet's own streams",
				Fix: "name another stream in sources, or choose another nats.prefix",
			})
		}
	}
	return errors.Join(errs...)
}

// Inspect compares a stream and its consumer with the plan; it returns nil when
// the stream is missing and may be made.
func (p *Plan) Inspect(ctx context.Context, js jetstream.JetStream) (*review, error) {
	stream, err := js.Stream(ctx, p.Want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if p.create {
			return nil, nil
		}
		return nil, &Refusal{
			Object: "source " + p.Want.Name, What: "there is no such stream",
			Fix: "correct its name, have its owner create it, or set create: true for this source",
		}
	}
	if err != nil {
		return nil, fmt.Errorf("look at the stream %s: %w", p.Want.Name, err)
	}
	info := stream.CachedInfo() // of just now

	// A source holds nothing of ours.
	if !p.Source {
		if err := wire.CheckStored(p.Want.Name, info.Config.Metadata); err != nil {
			return nil, err
		}
	}
	var found *review
	switch {
	case p.audit:
		found = reviewAudit(info.Config, p.Want)
	case !p.Source:
		found = reviewOwn(info.Config, p.Want, p.fromConfig)
	case p.create:
		found = reviewSource(info.Config, p.Want)
	default:
		found = reviewForeign(info.Config)
	}
	var errs []error
	if p.Source && p.create {
		errs = append(errs, p.checkShorterAge(ctx, js, stream, info))
	}
	if p.Consumer != nil {
		consumer, err := stream.Consumer(ctx, p.Consumer.Durable)
		switch {
		case err == nil:
			errs = append(errs, reviewConsumer(consumer.CachedInfo(), *p.Consumer))
		case errors.Is(err, jetstream.ErrConsumerNotFound):
			found.noRoomForConsumer(info, p.Consumer.Durable)
		default:
			errs = append(errs, explainConsumer(p.Want.Name, *p.Consumer, err))
		}
	}
	return found, errors.Join(append([]error{found.err()}, errs...)...)
}

// checkShorterAge refuses a max_age that would remove events which no matcher
// has handled.
func (p *Plan) checkShorterAge(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, info *jetstream.StreamInfo) error {
	want, have := p.Want.MaxAge, info.Config.MaxAge
	if want == 0 || have > 0 && have <= want {
		return nil
	}
	var floor uint64
	consumer, err := stream.Consumer(ctx, p.Consumer.Durable)
	switch {
	case err == nil:
		floor = consumer.CachedInfo().AckFloor.Stream
	case !errors.Is(err, jetstream.ErrConsumerNotFound):
		return fmt.Errorf("look at the %s: %w", ConsumerObject(p.Want.Name, p.Consumer.Durable), err)
	}
	// Not by nats.go: it takes an empty event with a header "Status" for the word
	// that there is none.
	waiting, err := jsapi.Of(js).Next(ctx, p.Want.Name, ">", floor+1)
	if errors.Is(err, jsapi.ErrNoMessage) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for events that wait in the stream %s: %w", p.Want.Name, err)
	}
	if age := info.TimeStamp.Sub(waiting.Time); age > want {
		return &Refusal{
			Object: "stream " + p.Want.Name,
			What:   fmt.Sprintf("max_age cannot go from %s to %s yet", orNone(have), period(want)),
			Why:    fmt.Sprintf("an event that is %s old still waits to be matched and would be removed", period(age.Round(time.Second))),
			Fix:    fmt.Sprintf("start with max_age %s until the gateway has caught up, or, to drop those events, %s", orNone(have), editStream(p.Want.Name, "--max-age="+period(want))),
		}
	}
	return nil
}

func orNone(maxAge time.Duration) string {
	if maxAge == 0 {
		return "none"
	}
	return period(maxAge)
}

// apply makes the stream and its consumer what inspect found missing or
// different.
func (p *Plan) apply(ctx context.Context, js jetstream.JetStream, found *review, log *zap.Logger) error {
	log = log.With(zap.String("stream", p.Want.Name))
	var err error
	switch {
	case found == nil && p.bucket != nil:
		_, err = js.CreateKeyValue(ctx, *p.bucket)
	case found == nil:
		_, err = js.CreateStream(ctx, p.Want)
	case len(found.Changes) > 0:
		_, err = js.UpdateStream(ctx, found.next)
	}
	if err != nil {
		return explainStream(ctx, js, p.Want, err)
	}
	if found == nil {
		log.Info("stream created")
	} else {
		if len(found.Changes) > 0 {
			log.Info("stream changed", zap.Strings("changes", found.Changes))
		}
		found.tell(log)
	}
	if p.Consumer == nil {
		return nil
	}
	stream, err := js.Stream(ctx, p.Want.Name)
	if err != nil {
		return fmt.Errorf("look at the stream %s: %w", p.Want.Name, err)
	}
	_, err = OpenConsumer(ctx, stream, *p.Consumer)
	return err
}
