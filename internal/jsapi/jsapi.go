package jsapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// timeout bounds the wait for one answer, if the context does not.
const timeout = 10 * time.Second

// API is JetStream's API as one connection reaches it. It may be used
// concurrently.
type API struct {
	nc     *nats.Conn
	prefix string
}

// On returns the API of the account of a connection.
func On(nc *nats.Conn) API { return API{nc: nc, prefix: "$JS.API"} }

// Of returns the API that a context of nats.go uses, with its connection, its
// prefix or its domain.
func Of(js jetstream.JetStream) API {
	api := On(js.Conn())
	switch o := js.Options(); {
	case o.APIPrefix != "":
		api.prefix = strings.TrimSuffix(o.APIPrefix, ".")
	case o.Domain != "":
		api.prefix = "$JS." + o.Domain + ".API"
	}
	return api
}

// Prefix is what the subject of every request begins with, such as "$JS.API".
func (a API) Prefix() string { return a.prefix }

// Subject is the subject of a request, such as "DIRECT.GET.EVENTS".
func (a API) Subject(request string) string { return a.prefix + "." + request }

// Ask makes a request, such as "STREAM.INFO.EVENTS", with a question that is
// encoded as JSON, and decodes the answer. The error is a *[jetstream.APIError]
// if the server refused, see [IsCode], and [nats.ErrDisconnected] as soon as the
// connection is lost.
func (a API) Ask(ctx context.Context, request string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ctx, answered := WhileConnected(ctx, a.nc)
	defer answered()
	m, err := a.nc.RequestWithContext(ctx, a.Subject(request), body)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
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

// IsConflict reports whether a write to a key-value bucket lost against somebody
// else's: the entry is not what it was when it was read.
func IsConflict(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}

// IsCode reports whether the server refused a request with a code.
func IsCode(err error, code jetstream.ErrorCode) bool {
	refusal, ok := errors.AsType[*jetstream.APIError](err)
	return ok && refusal.ErrorCode == code
}
