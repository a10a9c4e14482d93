package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// requestTimeout bounds an answer of JetStream's API.
const requestTimeout = 10 * time.Second

// ask makes a request about an entity, a stream as a rule, to JetStream's API
// whose answer nats.go keeps to itself in part. The error is a *[jetstream.APIError] if the server refused.
func ask(ctx context.Context, nc *nats.Conn, request, entity string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, "$JS.API."+request+"."+entity, body)
	if err != nil {
		return err
	}
	var refusal struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &refusal); err != nil {
		return fmt.Errorf("unreadable answer of NATS: %w", err)
	}
	if refusal.Error != nil {
		return refusal.Error
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		return fmt.Errorf("unreadable answer of NATS: %w", err)
	}
	return nil
}

func isCode(err error, code jetstream.ErrorCode) bool {
	refusal, ok := errors.AsType[*jetstream.APIError](err)
	return ok && refusal.ErrorCode == code
}
