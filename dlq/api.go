package dlq

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// apiSubject is the subject of a request to JetStream's API.
func (q *Queue) apiSubject(request, stream string) string {
	prefix := "$JS.API"
	switch o := q.js.Options(); {
	case o.APIPrefix != "":
		prefix = strings.TrimSuffix(o.APIPrefix, ".")
	case o.Domain != "":
		prefix = "$JS." + o.Domain + ".API"
	}
	return prefix + "." + request + "." + stream
}

// ask makes a request to JetStream's API whose answer nats.go keeps to itself
// in part. The error is a *[jetstream.APIError] if the server refused.
func (q *Queue) ask(ctx context.Context, request, stream string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	m, err := q.js.Conn().RequestWithContext(ctx, q.apiSubject(request, stream), body)
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
