package webhook

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// DefaultMaxBody is the largest body that a [Handler] reads unless told
// otherwise, in bytes. NATS carries events of up to 1 MiB by default; half as
// much again leaves room for an envelope with the event in base64.
const DefaultMaxBody = 3 << 19

// settleTimeout bounds how long the end of a claim may take.
const settleTimeout = 10 * time.Second

// Why a [Handler] does not hand a request on, besides the errors of [Verifier]
// and [Store].
var (
	// ErrMethod means that the request is not a POST.
	ErrMethod = errors.New("webhooks are sent with POST")
	// ErrBody means that the body could not be read.
	ErrBody = errors.New("webhook body could not be read")
	// ErrTooLarge means that the body is larger than allowed.
	ErrTooLarge = errors.New("webhook body is too large")
	// ErrStore means that the store failed, so that it is not known whether the
	// webhook was handled before.
	ErrStore = errors.New("webhook store failed")
)

// HandlerOptions configures a [Handler].
type HandlerOptions struct {
	// Verifier verifies every request. It is required.
	Verifier *Verifier
	// Store finds duplicates. Without one they are handed on.
	Store Store
	// MaxBody is the largest body that is accepted, in bytes. Zero means
	// [DefaultMaxBody].
	MaxBody int64
	// Report is told why a request was not handed on, or why its claim could
	// not be ended; for logs and metrics. It may be nil, and is called by many
	// goroutines at once.
	Report func(r *http.Request, err error)
}

// Handler hands verified webhooks on to another handler, which finds the
// verified bytes in r.Body and the rest by [FromContext]. It answers the others
// itself, in a way that makes a sender do the right thing:
//
//	200  a duplicate of a webhook that was handled
//	400  a header is missing or malformed, or the body broke off
//	401  the signature does not match, or the timestamp is outside the tolerance
//	405  not a POST
//	409  a duplicate of a webhook that is being handled: to be sent again
//	413  the body is too large
//	503  the store failed: to be sent again
//
// The webhook counts as handled if the other handler answers 2xx. If it answers
// anything else or panics, the same id may come again. It is safe for
// concurrent use.
type Handler struct {
	next http.Handler
	o    HandlerOptions
}

// NewHandler returns a Handler in front of next.
func NewHandler(next http.Handler, o HandlerOptions) (*Handler, error) {
	switch {
	case next == nil:
		return nil, errors.New("webhook handler: next is nil: nobody would handle the webhooks")
	case o.Verifier == nil:
		return nil, errors.New("webhook handler: Verifier is nil: make one with NewVerifier")
	case o.MaxBody < 0:
		return nil, fmt.Errorf("webhook handler: MaxBody is %d, it must not be negative", o.MaxBody)
	}
	o.MaxBody = cmp.Or(o.MaxBody, DefaultMaxBody)
	return &Handler{next: next, o: o}, nil
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verified, err := h.verify(w, r)
	if err == nil {
		err = h.handOn(w, verified)
	}
	if err == nil {
		return
	}
	h.report(r, err)
	if errors.Is(err, ErrMethod) {
		w.Header().Set("Allow", http.MethodPost)
	}
	status, text := answer(err)
	http.Error(w, text, status)
}

// verify returns r with its verified body.
func (h *Handler) verify(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	if r.Method != http.MethodPost {
		return nil, ErrMethod
	}
	// A request that cannot be right is not worth reading.
	e, err := h.o.Verifier.open(r.Header)
	if err != nil {
		return nil, err
	}
	body, err := readBody(w, r, h.o.MaxBody)
	if err != nil {
		return nil, err
	}
	if err := h.o.Verifier.check(e, body); err != nil {
		return nil, err
	}
	out := r.WithContext(newContext(r.Context(), newDelivery(e, r.Header)))
	out.Body = io.NopCloser(bytes.NewReader(body))
	out.ContentLength = int64(len(body))
	return out, nil
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBody, err)
	}
	return body, nil
}

// handOn calls the next handler unless the webhook is a duplicate.
func (h *Handler) handOn(w http.ResponseWriter, r *http.Request) error {
	if h.o.Store == nil {
		h.next.ServeHTTP(w, r)
		return nil
	}
	d, _ := FromContext(r.Context())
	claim, err := h.o.Store.Begin(r.Context(), d.ID)
	switch {
	case errors.Is(err, ErrDuplicate), errors.Is(err, ErrInProgress):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	handled := false
	defer func() { // also when the handler panics
		// The sender may have gone away, but what happened has happened.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), settleTimeout)
		defer cancel()
		if err := claim.Done(ctx, handled); err != nil {
			h.report(r, fmt.Errorf("%w: %w", ErrStore, err))
		}
	}()
	rec := &statusRecorder{ResponseWriter: w}
	h.next.ServeHTTP(rec, r)
	handled = rec.succeeded()
	return nil
}

func (h *Handler) report(r *http.Request, err error) {
	if h.o.Report != nil {
		h.o.Report(r, err)
	}
}

// answer says what the sender is told. A failing store is not its business.
func answer(err error) (status int, text string) {
	switch {
	case errors.Is(err, ErrDuplicate):
		return http.StatusOK, err.Error()
	case errors.Is(err, ErrInProgress):
		return http.StatusConflict, err.Error()
	case errors.Is(err, ErrStore):
		return http.StatusServiceUnavailable, "webhook cannot be taken now, send it again"
	case errors.Is(err, ErrMethod):
		return http.StatusMethodNotAllowed, err.Error()
	case errors.Is(err, ErrTooLarge):
		return http.StatusRequestEntityTooLarge, err.Error()
	case errors.Is(err, ErrSignature), errors.Is(err, ErrTimestamp):
		return http.StatusUnauthorized, err.Error()
	case errors.Is(err, ErrBody):
		return http.StatusBadRequest, ErrBody.Error()
	default:
		return http.StatusBadRequest, err.Error()
	}
}
