package subscriber

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/nats-io/nats.go"

	"fanjet/internal/wire"
)

// Result is what became of one attempt.
type Result struct {
	Began      time.Time
	Took       time.Duration // until the response headers, or the failure
	Status     int           // 0: there was no response
	RetryAfter time.Duration // what the endpoint asked for, 0: nothing
	Err        error         // why there was no response
	Class      Class
}

// Causes that end an attempt early.
var (
	errTimeout     = errors.New("no response in time")
	errInterrupted = errors.New("interrupted by a shutdown")
)

// drainTime bounds how long an attempt that is decided still reads the body,
// to keep the connection.
const drainTime = time.Second

// attempt POSTs the body to the endpoint. decided is called as soon as the
// outcome is known: for a response when its headers arrived. Then what is left
// of the response is read, within bounds, so that the connection can be used
// again.
func (e *endpoint) attempt(ctx context.Context, env *wire.Envelope, header nats.Header, body []byte, decided func(Result)) {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(e.Timeout, func() { cancel(errTimeout) })
	defer timer.Stop()

	resp, err := e.client.Do(e.request(ctx, began, env, header, body))
	result := Result{Began: began, Took: time.Since(began)}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		result.Err = err
		result.Class = classOf(err)
		decided(result)
		return
	}
	result.Status = resp.StatusCode
	result.Class = statusClass(resp.StatusCode)
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		result.RetryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	decided(result)

	timer.Reset(min(drainTime, e.Timeout))
	_, _ = io.CopyN(io.Discard, resp.Body, maxResponseBody)
	_ = resp.Body.Close()
}

// request builds the request of one attempt.
func (e *endpoint) request(ctx context.Context, now time.Time, env *wire.Envelope, header nats.Header, body []byte) *retryablehttp.Request {
	conn := new(connection)
	ctx = context.WithValue(ctx, connectionKey{}, conn)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              func(info httptrace.GotConnInfo) { conn.reused.Store(info.Reused) },
		GotFirstResponseByte: func() { conn.answered.Store(true) },
	})

	h := make(http.Header, len(e.Headers)+10)
	maps.Copy(h, e.Headers)
	h["Content-Type"] = []string{contentType(header, body)}
	h["User-Agent"] = []string{e.userAgent}
	h["Webhook-Id"] = []string{env.EventID}
	h["Webhook-Timestamp"] = []string{strconv.FormatInt(now.Unix(), 10)}
	h["Webhook-Signature"] = []string{e.signer.Sign(env.EventID, now, body)}
	h["Fanjet-Subject"] = []string{fieldValue(env.Subject)}
	h["Fanjet-Attempt"] = []string{strconv.Itoa(env.Attempt)}
	if parent := header.Get("traceparent"); validTraceparent(parent) {
		h["Traceparent"] = []string{parent}
	}

	plain := (&http.Request{
		Method: http.MethodPost, URL: e.URL, Host: e.URL.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	req := &retryablehttp.Request{Request: plain}
	if len(body) > 0 {
		_ = req.SetBody(body) // cannot fail for []byte
	} else {
		plain.Body = http.NoBody
	}
	return req
}

// contentType is the producer's, else what the body looks like.
func contentType(header nats.Header, body []byte) string {
	for _, name := range [...]string{"Content-Type", "content-type"} {
		if v := header.Get(name); v != "" && v == fieldValue(v) {
			return v
		}
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && json.Valid(body) {
		return "application/json"
	}
	return "application/octet-stream"
}

// fieldValue makes text a valid value of an HTTP header (RFC 9110, 5.5).
func fieldValue(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// validTraceparent checks the shape of a W3C Trace Context header.
func validTraceparent(s string) bool {
	if len(s) != 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i != 2 && i != 35 && i != 52 && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
