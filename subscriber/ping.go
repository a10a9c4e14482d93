package subscriber

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"fanjet/internal/wire"
	"fanjet/subscriber/outcome"

	"github.com/nats-io/nats.go"
)

// ErrUnknownEndpoint means that the configuration has no such endpoint.
var ErrUnknownEndpoint = errors.New("no such endpoint in the configuration")

// Ping sends a small signed test event to an endpoint, in the same way as a
// delivery, and returns what came of it. It is no attempt of any event, and
// neither a pause nor the circuit, nor a Retry-After, keeps it back, nor hears of
// it: that an endpoint takes one test event does not say that it is ready for all
// that waits.
func (d *Dispatcher) Ping(ctx context.Context, endpoint string) (outcome.Result, error) {
	e := d.endpoint(endpoint)
	if e == nil {
		return outcome.Result{}, fmt.Errorf("%w: %s", ErrUnknownEndpoint, endpoint)
	}
	now := time.Now().UTC()
	env := wire.Envelope{
		EventID: "msg_" + pingID(), Endpoint: endpoint, Subject: d.opts.Names.Prefix() + ".ping", Accepted: now, Attempt: 1,
	}
	body := fmt.Appendf(nil, `{"type":"fanjet.ping","timestamp":%q,"data":{"endpoint":%q}}`, now.Format(time.RFC3339Nano), endpoint)
	var result outcome.Result
	e.settings().Attempt(ctx, &env, nats.Header{"Content-Type": {"application/json"}}, body, func(r outcome.Result) { result = r })
	return result, nil
}

func pingID() string {
	var random [17]byte
	_, _ = rand.Read(random[:]) // never fails
	return strings.ToLower(base32.StdEncoding.EncodeToString(random[:]))[:26]
}
