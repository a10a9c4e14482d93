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

// These say how long answers are waited for. Gateways say whom they know to live, and those are
// waited for; one of an earlier version is known to nobody, so the end is a silence.
const (
	answerTime = 2 * time.Second        // for the first one, for the rest of one that has begun, and for one that lives
	quiet      = 300 * time.Millisecond // after those, for one of a gateway that nobody knows
	answersEnd = 10 * time.Second       // for all of them
	pingGrace  = 2 * time.Second        // for the way of a ping to the gateway and back
)

// Statuses asks every gateway how endpoints do; without names, all of them. It
// returns the answers in the order in which they came, and which gateways live that
// gave none; or [ErrNoGateway]. It takes 0.3 s longer than the gateways do, 2 s if one
// that lives is silent, and never more than 10 s.
func Statuses(ctx context.Context, nc *nats.Conn, names wire.Names, endpoints ...string) ([]Report, Gateways, error) {
	subject := names.ControlEndpointsSubject()
	request, err := json.Marshal(StatusRequest{Endpoints: endpoints})
	if err != nil {
		return nil, Gateways{}, err
	}
	messages, end, err := ask(nc, subject, request)
	if err != nil {
		return nil, Gateways{}, err
	}
	defer end()
	return statuses(ctx, subject, messages)
}

// statuses puts together what comes for an answer.
func statuses(ctx context.Context, subject string, messages <-chan *nats.Msg) ([]Report, Gateways, error) {
	var answers assembly
	err := collect(ctx, subject, messages, func(data []byte) (wait time.Duration, err error) {
		err = answers.add(data)
		if !answers.complete() {
			return answerTime, err
		}
		return answers.wait(), err
	})
	if err != nil {
		return nil, Gateways{}, err
	}
	reports, err := answers.reports()
	return reports, answers.gateways(), err
}

// Lift has every gateway end what an endpoint waits for without being paused, see
// [subscriber.Dispatcher.Lift]. It returns their answers, and which gateways gave
// none, or [ErrNoGateway], in the time that [Statuses] takes.
func Lift(ctx context.Context, nc *nats.Conn, names wire.Names, endpoint string) ([]LiftAnswer, Gateways, error) {
	var answers []LiftAnswer
	var attending attendance
	subject := names.ControlResumeSubject(endpoint)
	messages, end, err := ask(nc, subject, nil)
	if err != nil {
		return nil, Gateways{}, err
	}
	defer end()
	err = collect(ctx, subject, messages, func(data []byte) (wait time.Duration, err error) {
		var answer LiftAnswer
		if err := json.Unmarshal(data, &answer); err != nil {
			return 0, fmt.Errorf("unreadable answer of a gateway: %w", err)
		}
		answers = append(answers, answer)
		attending.note(answer.Replica.ID, answer.Peers)
		return attending.wait(), nil
	})
	return answers, attending.gateways(), err
}

// ask asks every gateway. The answers come to the channel until end is called.
func ask(nc *nats.Conn, subject string, request []byte) (answers <-chan *nats.Msg, end func(), err error) {
	inbox := nc.NewInbox()
	messages := make(chan *nats.Msg, 4096)
	sub, err := nc.ChanSubscribe(inbox, messages)
	if err != nil {
		return nil, nil, fmt.Errorf("asking the gateways: %w", err)
	}
	end = func() { _ = sub.Unsubscribe() } // fails only on a closed connection
	if err := nc.PublishRequest(subject, inbox, request); err != nil {
		end()
		return nil, nil, fmt.Errorf("asking the gateways: %w", err)
	}
	return messages, end, nil
}

// collect hands over each message that is answered on a subject, until the gateways
// have had their time. take says how long another one is to be waited for.
func collect(ctx context.Context, subject string, messages <-chan *nats.Msg, take func(data []byte) (wait time.Duration, err error)) error {
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
			wait, err := take(m.Data)
			if err != nil {
				return err
			}
			silence.Reset(wait)
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
