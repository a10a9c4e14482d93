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
	var answers assembly
	err = ask(ctx, nc, subject, request, func(data []byte) (complete bool, err error) {
		err = answers.add(data)
		return answers.complete(), err
	})
	if err != nil {
		return nil, err
	}
	return answers.reports()
}

// Lift has every gateway end what an endpoint waits for without being paused, see
// [subscriber.Dispatcher.Lift]. It returns their answers, or [ErrNoGateway], in
// the time that [Statuses] takes.
func Lift(ctx context.Context, nc *nats.Conn, names wire.Names, endpoint string) ([]LiftAnswer, error) {
	var answers []LiftAnswer
	err := ask(ctx, nc, names.ControlResumeSubject(endpoint), nil, func(data []byte) (complete bool, err error) {
		var answer LiftAnswer
		if err := json.Unmarshal(data, &answer); err != nil {
			return false, fmt.Errorf("unreadable answer of a gateway: %w", err)
		}
		answers = append(answers, answer)
		return true, nil
	})
	return answers, err
}

// ask asks every gateway, and hands over each message that is answered. take
// says whether it completes what its gateway, and all others that have begun,
// have to say.
func ask(ctx context.Context, nc *nats.Conn, subject string, request []byte, take func(data []byte) (complete bool, err error)) error {
	inbox := nc.NewInbox()
	messages := make(chan *nats.Msg, 4096)
	sub, err := nc.ChanSubscribe(inbox, messages)
	if err != nil {
		return fmt.Errorf("asking the gateways: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	if err := nc.PublishRequest(subject, inbox, request); err != nil {
		return fmt.Errorf("asking the gateways: %w", err)
	}
	silence, end := time.NewTimer(answerTime), time.NewTimer(answersEnd)
	defer silence.Stop()
	defer end.Stop()
	answered := false
	for waiting := true; waiting; {
		select {
		case m := <-messages:
			if noResponders(m) {
				return nobody(subject)
			}
			answered = true
			complete, err := take(m.Data)
			if err != nil {
				return err
			}
			if complete {
				silence.Reset(quiet)
			} else {
				silence.Reset(answerTime)
			}
		case <-silence.C:
			waiting = false
		case <-end.C:
			waiting = false
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if !answered {
		return nobody(subject)
	}
	return nil
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
