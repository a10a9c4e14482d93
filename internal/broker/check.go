package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// minVersion is the oldest NATS server that Fanjet runs on. Atomic batches and
// message schedules came with 2.12.0, Nats-Msg-Id inside an atomic batch with
// 2.12.1.
var minVersion = [3]int{2, 12, 1}

// CheckServer returns an error that says what is missing when the server
// cannot carry Fanjet: it is too old, or JetStream is not there for this
// account. Errors that pass by themselves are [Transient].
func CheckServer(ctx context.Context, nc *nats.Conn) error { return Settings{}.CheckServer(ctx, nc) }

// CheckServer is [CheckServer] for a server on which JetStream is in the domain of
// the settings. Of a domain that is elsewhere the version is not known. One that
// does not answer is waited for: it may be behind a link that is down.
func (s Settings) CheckServer(ctx context.Context, nc *nats.Conn) error {
	version := nc.ConnectedServerVersion()
	if version == "" {
		return nats.ErrDisconnected
	}
	if tooOld(version) {
		return fmt.Errorf("the NATS server %s is too old: version %s, at least %d.%d.%d is needed, for atomic batch publishing "+
			"with deduplication (deliveries are stored in batches) and for message schedules (retries wait in the server): upgrade the server",
			nc.ConnectedServerName(), version, minVersion[0], minVersion[1], minVersion[2])
	}
	js, err := s.JetStream(nc)
	if err != nil {
		return err
	}
	_, err = js.AccountInfo(ctx)
	switch {
	case nobodyAnswers(err):
		return s.Unanswered(nc, err)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("JetStream is not enabled for this account of the NATS server %s, and Fanjet keeps everything in it: "+
			"enable it for the account, or use credentials of one that has it: %w", nc.ConnectedServerName(), err)
	case err != nil:
		return fmt.Errorf("ask the NATS server %s for its JetStream limits: %w", nc.ConnectedServerName(), err)
	}
	return nil
}

// nobodyAnswers reports whether a request to JetStream failed because nobody listens
// for it.
func nobodyAnswers(err error) bool {
	return errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrNoResponders)
}

// Unanswered says of a request to JetStream that nobody answered why that is, and what
// to do. Other errors, and none, it returns as they are.
func (s Settings) Unanswered(nc *nats.Conn, err error) error {
	switch {
	case !nobodyAnswers(err):
		return err
	case s.domain() != "":
		return fmt.Errorf("nothing answers for the JetStream domain %q on the NATS server %s: check nats.domain, and the link between the two: %w",
			s.domain(), nc.ConnectedServerName(), nats.ErrNoResponders)
	}
	return fmt.Errorf("the NATS server %s runs without JetStream, and Fanjet keeps everything in it: "+
		"start it with -js, or with a jetstream block in its configuration: %w", nc.ConnectedServerName(), err)
}

// JetStream returns a client of JetStream on a connection, in the domain of the
// settings.
func (s Settings) JetStream(nc *nats.Conn, opts ...jetstream.JetStreamOpt) (jetstream.JetStream, error) {
	if domain := s.domain(); domain != "" {
		return jetstream.NewWithDomain(nc, domain, opts...)
	}
	return jetstream.New(nc, opts...)
}

// domain is the one to name; the embedded server has none.
func (s Settings) domain() string {
	if s.URL == "" {
		return ""
	}
	return s.Domain
}

// tooOld compares major, minor and patch of a version such as
// "2.14.0-RC.1"; one that cannot be read is taken for new.
func tooOld(version string) bool {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	parts := strings.Split(version, ".")
	for i, least := range minVersion {
		if i >= len(parts) {
			return false
		}
		n, err := strconv.Atoi(parts[i])
		if err != nil || n > least {
			return false
		}
		if n < least {
			return true
		}
	}
	return false
}
