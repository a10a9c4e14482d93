package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"fanjet/webhook"
)

const (
	// maxReceived bounds the body of a request, in bytes.
	maxReceived = 8 << 20
	// previewLen is how much of a body is shown, in bytes.
	previewLen = 96
)

// manners are how a receiver answers what it accepts.
type manners struct {
	status   int
	delay    time.Duration
	failRate float64 // share answered with 500
}

func (m manners) check() error {
	switch {
	case m.status < 200 || m.status > 599:
		return usagef("--status %d: must be from 200 to 599", m.status)
	case m.delay < 0:
		return usagef("--delay %v: must not be negative", m.delay)
	case !(m.failRate >= 0 && m.failRate <= 1):
		return usagef("--fail-rate %v: must be from 0 to 1", m.failRate)
	}
	return nil
}

// receiver is the development receiver. It prints a line for each request.
type receiver struct {
	verifier *webhook.Verifier // nil: nothing is verified
	manners  manners

	mu       sync.Mutex // guards what follows, and keeps lines whole
	out      io.Writer
	accepted map[delivered]int // how often it was answered with 2xx
	counts   receiverCounts
}

// delivered is what comes once. Two endpoints on one receiver, told apart by their
// URLs, get an event with the same id.
type delivered struct{ target, id string }

type receiverCounts struct {
	requests   int
	accepted   int // answered with 2xx for the first time
	refused    int // not verified, or no webhook at all
	failed     int // answered with another status than 2xx, as asked for
	duplicates int // accepted before
}

func newReceiver(verifier *webhook.Verifier, m manners, out io.Writer) *receiver {
	return &receiver{verifier: verifier, manners: m, out: out, accepted: map[delivered]int{}}
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxReceived))
	if err != nil {
		r.refuse(w, req, body, readStatus(err), err)
		return
	}
	if req.Method != http.MethodPost {
		r.refuse(w, req, body, http.StatusMethodNotAllowed, webhook.ErrMethod)
		return
	}
	if r.verifier != nil {
		if err := r.verifier.Verify(req.Header, body); err != nil {
			r.refuse(w, req, body, http.StatusUnauthorized, err)
			return
		}
	}
	if r.manners.delay > 0 {
		select {
		case <-time.After(r.manners.delay):
		case <-req.Context().Done():
		}
	}
	status := r.manners.status
	if rand.Float64() < r.manners.failRate {
		status = http.StatusInternalServerError
	}
	r.record(req, body, status)
	w.WriteHeader(status)
}

func readStatus(err error) int {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

// refuse answers a request that is no webhook for us.
func (r *receiver) refuse(w http.ResponseWriter, req *http.Request, body []byte, status int, why error) {
	r.mu.Lock()
	r.counts.requests++
	r.counts.refused++
	r.print(req, body, fmt.Sprintf("refused %d", status), why.Error())
	r.mu.Unlock()
	http.Error(w, why.Error(), status)
}

// record counts and prints a request that is about to be answered.
func (r *receiver) record(req *http.Request, body []byte, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.requests++
	delivery := delivered{target: req.URL.RequestURI(), id: req.Header.Get(webhook.HeaderID)}
	verdict := "verified"
	if r.verifier == nil {
		verdict = "unverified"
	}
	note := ""
	before := r.accepted[delivery]
	if before > 0 {
		r.counts.duplicates++
		note = fmt.Sprintf("DUPLICATE, accepted %s before", times(before))
	}
	switch {
	case status >= 300:
		r.counts.failed++
	case before == 0:
		r.counts.accepted++
	}
	if status < 300 && delivery.id != "" { // without an id it can be anything
		r.accepted[delivery]++
	}
	r.print(req, body, fmt.Sprintf("%s %d", verdict, status), note)
}

// print writes the line of a request: time, verdict and answer, id, subject,
// attempt, what there is to say, and how the body begins.
func (r *receiver) print(req *http.Request, body []byte, verdict, note string) {
	fields := []string{
		time.Now().Format("15:04:05.000"),
		fmt.Sprintf("%-14s", verdict),
		orDash(req.Header.Get(webhook.HeaderID)),
		orDash(req.Header.Get(webhook.HeaderSubject)),
		"attempt " + orDash(req.Header.Get(webhook.HeaderAttempt)),
	}
	if note != "" {
		fields = append(fields, "("+printable(note)+")")
	}
	fields = append(fields, preview(body))
	fmt.Fprintln(r.out, strings.Join(fields, "  "))
}

// verification says in a few words whether anything is verified.
func (r *receiver) verification() string {
	if r.verifier == nil {
		return "verifying nothing (no --secret)"
	}
	return "verifying signatures"
}

// summary says what came in all.
func (r *receiver) summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts
	return fmt.Sprintf("%s: %s accepted, %s, %d failed on purpose, %d refused", counted(c.requests, "request"),
		counted(c.accepted, "event"), counted(c.duplicates, "duplicate"), c.failed, c.refused)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}

// preview is the beginning of a body, on one line.
func preview(body []byte) string {
	if len(body) <= previewLen {
		return printable(string(body))
	}
	cut := body[:previewLen]
	for len(cut) > previewLen-utf8.UTFMax && !utf8.Valid(cut) {
		cut = cut[:len(cut)-1]
	}
	return fmt.Sprintf("%s… (%d bytes)", printable(string(cut)), len(body))
}
