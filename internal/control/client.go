package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/wire"
)

// How long answers are waited for. Nobody knows how many gateways there are, so
// that the end is a silence.
const (
	answerTime = 2 * time.Second        // for the first one, and for the rest of one that has begun
	quiet      = 300 * time.Millisecond // after that, for one of another gateway
	answersEnd = 10 * time.Second       // for all of them
	pingGrace  = 2 * time.Second        // for the way of a ping to the gateway and back
)

// Statuses asks every gateway how endpoints do; without names, all of them. It
// returns the answers in the order in which they came, or [ErrNoGateway]. It
// takes 0.3 s longer than the gateways do, and never more than 10 s.
func Statuses(ctx context.Context, nc *nats.Conn, names wire.Names, endpoints ...string) ([]Report, error) {
	subject := names.ControlEndpointsSubject()
	request, err := json.Marshal(StatusRequest{Endpoints: endpoints})
	if err != nil {
		return nil, err
	}
	inbox := nc.NewInbox()
	messages := make(chan *nats.Msg, 4096)
	sub, err := nc.ChanSubscribe(inbox, messages)
	if err != nil {
		return nil, fmt.Errorf("asking the gateways: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	if err := nc.PublishRequest(subject, inbox, request); err != nil {
		return nil, fmt.Errorf("asking the gateways: %w", err)
	}

	var answers assembly
	silence, end := time.NewTimer(answerTime), time.NewTimer(answersEnd)
	defer silence.Stop()
	defer end.Stop()
	for waiting := true; waiting; {
		select {
		case m := <-messages:
			if noResponders(m) {
				return nil, nobody(subject)
			}
			if err := answers.add(m.Data); err != nil {
				return nil, err
			}
			if answers.complete() {
				silence.Reset(quiet)
			} else {
				silence.Reset(answerTime)
			}
		case <-silence.C:
			waiting = false
		case <-end.C:
			waiting = false
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if len(answers.order) == 0 {
		return nil, nobody(subject)
	}
	return answers.reports()
}

// Ping lets one gateway send a test event to an endpoint, and returns what became
// of it within about the timeout, or [ErrNoGateway].
func Ping(ctx context.Context, nc *nats.Conn, names wire.Names, endpoint string, timeout time.Duration) (PingAnswer, error) {
	subject := names.ControlPingSubject(endpoint)
	request, err := json.Marshal(PingRequest{Timeout: timeout})
	if err != nil {
		return PingAnswer{}, err
	}
	wait, cancel := context.WithTimeout(ctx, timeout+pingGrace)
	defer cancel()
	m, err := nc.RequestWithContext(wait, subject, request)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return PingAnswer{}, nobody(subject)
	case err != nil && wait.Err() != nil && ctx.Err() == nil:
		return PingAnswer{}, fmt.Errorf("%w on %s within %v", ErrNoGateway, subject, timeout+pingGrace)
	case err != nil:
		return PingAnswer{}, fmt.Errorf("asking a gateway: %w", err)
	}
	var answer PingAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return PingAnswer{}, fmt.Errorf("unreadable answer of a gateway: %w", err)
	}
	return answer, nil
}

func nobody(subject string) error {
	return fmt.Errorf("%w on %s; is `fanjet serve` running?", ErrNoGateway, subject)
}

// noResponders reports whether it is the word of the NATS server that nobody
// listens.
func noResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}
