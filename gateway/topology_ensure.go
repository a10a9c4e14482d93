package gateway

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

// streamPlan is a stream that the gateway needs, and its consumer if it has one.
type streamPlan struct {
	want     jetstream.StreamConfig
	consumer *jetstream.ConsumerConfig

	create bool // make it when it is missing
	source bool
	// fromConfig says that max_age and max_bytes are settings of the user.
	fromConfig bool
	bucket     *jetstream.KeyValueConfig // of a key-value bucket
	// audit marks the record of what operators did. Deliveries do not depend on
	// it: what is wrong with it is logged, and stops nothing.
	audit bool
}

// plan lists what the configuration needs, the sources first.
func plan(names wire.Names, cfg *config.Config, maxPayload int64) []streamPlan {
	replicas := max(cfg.NATS.Replicas, 1)
	matching, deliver, due := matchConsumerConfig(names), deliverConsumerConfig(names), dueConsumerConfig(names)
	bucket := stateConfig(names, replicas)
	var plans []streamPlan
	for _, source := range cfg.Sources {
		plans = append(plans, streamPlan{
			want: sourceConfig(source, replicas, maxPayload), consumer: &matching, create: source.Create, source: true,
		})
	}
	own := []streamPlan{
		{want: deliveriesConfig(names, replicas), consumer: &deliver, create: true},
		{want: retriesConfig(names, replicas), consumer: &due, create: true},
		{want: lanesConfig(names, replicas), create: true},
		{want: deadLettersConfig(names, cfg.DeadLetters, replicas), create: true, fromConfig: true},
		{want: stateStreamConfig(names, replicas), create: true, bucket: &bucket},
		{want: auditConfig(names, replicas), create: true, audit: true},
	}
	bucket.Metadata = wire.StoredMetadata(wire.StoredWritten)
	for i := range own {
		own[i].want.Metadata = wire.StoredMetadata(wire.StoredWritten)
	}
	return append(plans, own...)
}

// ensureTopology makes the streams and consumers that are missing and sets
// right what may be changed in those that exist. It first looks at all of them:
// if one cannot be used without losing events, nothing is touched, and the error
// names every problem and its remedy ([isRefusal]), or, as a [wire.NewerError], only
// that a newer Fanjet stored what is there. Any other error passes by itself. Nothing is ever deleted or made a second time. A second call changes
// nothing.
func ensureTopology(ctx context.Context, js jetstream.JetStream, names wire.Names, cfg *config.Config, log *zap.Logger) error {
	plans := plan(names, cfg, js.Conn().MaxPayload())
	reviews := make([]*review, len(plans)) // nil: missing
	errs := []error{checkSourceNames(plans)}
	unrecorded := false
	report := func(p *streamPlan, err error) {
		switch {
		case err == nil:
		case p.audit && isRefusal(err):
			unrecorded = true
			log.Error("what operators do cannot be recorded", zap.Error(err))
		default:
			errs = append(errs, err)
		}
	}
	for i := range plans {
		var err error
		reviews[i], err = plans[i].inspect(ctx, js)
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

// checkTopology looks at every stream and consumer, changes nothing, and
// reports what is missing or not as it must be.
func checkTopology(ctx context.Context, js jetstream.JetStream, names wire.Names, cfg *config.Config) error {
	var errs []error
	for _, p := range plan(names, cfg, js.Conn().MaxPayload()) {
		if p.audit {
			continue
		}
		found, err := p.inspect(ctx, js)
		if err == nil && found == nil {
			err = fmt.Errorf("stream %s: %w", p.want.Name, jetstream.ErrStreamNotFound)
		}
		errs = append(errs, err)
		if err != nil || p.consumer == nil {
			continue
		}
		consumer, err := js.Consumer(ctx, p.want.Name, p.consumer.Durable)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", consumerObject(p.want.Name, p.consumer.Durable), err))
			continue
		}
		errs = append(errs, checkPaused(consumer.CachedInfo()))
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

// checkSourceNames refuses a source that is one of our own streams: events
// would go round in circles.
func checkSourceNames(plans []streamPlan) error {
	own := make(map[string]bool)
	for _, p := range plans {
		own[p.want.Name] = own[p.want.Name] || !p.source
	}
	var errs []error
	for _, p := range plans {
		if p.source && own[p.want.Name] {
			errs = append(errs, &refusal{
				object: "source " + p.want.Name, what: "it is one of Fanjet's own streams",
				fix: "name another stream in sources, or choose another nats.prefix",
			})
		}
	}
	return errors.Join(errs...)
}

// inspect compares a stream and its consumer with the plan; it returns nil when
// the stream is missing and may be made.
func (p *streamPlan) inspect(ctx context.Context, js jetstream.JetStream) (*review, error) {
	stream, err := js.Stream(ctx, p.want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if p.create {
			return nil, nil
		}
		return nil, &refusal{
			object: "source " + p.want.Name, what: "there is no such stream",
			fix: "correct its name, have its owner create it, or set create: true for this source",
		}
	}
	if err != nil {
		return nil, fmt.Errorf("look at the stream %s: %w", p.want.Name, err)
	}
	info := stream.CachedInfo() // of just now
	if !p.source {              // a source holds nothing of ours
		if err := wire.CheckStored(p.want.Name, info.Config.Metadata); err != nil {
			return nil, err
		}
	}
	var found *review
	switch {
	case p.audit:
		found = reviewAudit(info.Config, p.want)
	case !p.source:
		found = reviewOwn(info.Config, p.want, p.fromConfig)
	case p.create:
		found = reviewSource(info.Config, p.want)
	default:
		found = reviewForeign(info.Config)
	}
	var errs []error
	if p.source && p.create {
		errs = append(errs, p.checkShorterAge(ctx, js, stream, info))
	}
	if p.consumer != nil {
		consumer, err := stream.Consumer(ctx, p.consumer.Durable)
		switch {
		case err == nil:
			errs = append(errs, reviewConsumer(consumer.CachedInfo(), *p.consumer))
		case errors.Is(err, jetstream.ErrConsumerNotFound):
			found.noRoomForConsumer(info, p.consumer.Durable)
		default:
			errs = append(errs, explainConsumer(p.want.Name, *p.consumer, err))
		}
	}
	return found, errors.Join(append([]error{found.err()}, errs...)...)
}

// checkShorterAge refuses a max_age that would remove events which no matcher
// has handled.
func (p *streamPlan) checkShorterAge(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, info *jetstream.StreamInfo) error {
	want, have := p.want.MaxAge, info.Config.MaxAge
	if want == 0 || have > 0 && have <= want {
		return nil
	}
	var floor uint64
	consumer, err := stream.Consumer(ctx, p.consumer.Durable)
	switch {
	case err == nil:
		floor = consumer.CachedInfo().AckFloor.Stream
	case !errors.Is(err, jetstream.ErrConsumerNotFound):
		return fmt.Errorf("look at the %s: %w", consumerObject(p.want.Name, p.consumer.Durable), err)
	}
	// Not by nats.go: it takes an empty event with a header "Status" for the word
	// that there is none.
	waiting, err := jsapi.Of(js).Next(ctx, p.want.Name, ">", floor+1)
	if errors.Is(err, jsapi.ErrNoMessage) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for events that wait in the stream %s: %w", p.want.Name, err)
	}
	if age := info.TimeStamp.Sub(waiting.Time); age > want {
		return &refusal{
			object: "stream " + p.want.Name,
			what:   fmt.Sprintf("max_age cannot go from %s to %s yet", orNone(have), period(want)),
			why:    fmt.Sprintf("an event that is %s old still waits to be matched and would be removed", period(age.Round(time.Second))),
			fix:    fmt.Sprintf("start with max_age %s until the gateway has caught up, or, to drop those events, %s", orNone(have), editStream(p.want.Name, "--max-age="+period(want))),
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
func (p *streamPlan) apply(ctx context.Context, js jetstream.JetStream, found *review, log *zap.Logger) error {
	log = log.With(zap.String("stream", p.want.Name))
	var err error
	switch {
	case found == nil && p.bucket != nil:
		_, err = js.CreateKeyValue(ctx, *p.bucket)
	case found == nil:
		_, err = js.CreateStream(ctx, p.want)
	case len(found.changes) > 0:
		_, err = js.UpdateStream(ctx, found.next)
	}
	if err != nil {
		return explainStream(ctx, js, p.want, err)
	}
	if found == nil {
		log.Info("stream created")
	} else {
		if len(found.changes) > 0 {
			log.Info("stream changed", zap.Strings("changes", found.changes))
		}
		found.tell(log)
	}
	if p.consumer == nil {
		return nil
	}
	stream, err := js.Stream(ctx, p.want.Name)
	if err != nil {
		return fmt.Errorf("look at the stream %s: %w", p.want.Name, err)
	}
	_, err = openConsumer(ctx, stream, *p.consumer)
	return err
}
