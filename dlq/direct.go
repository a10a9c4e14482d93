package dlq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

// Bounds of one page.
const (
	pageLetters = 256
	pageBytes   = 4 << 20
	pageTimeout = 10 * time.Second // for one answer of the server
)

// pageRequest asks for a batch of stored messages (NATS ADR-31, batched direct
// get). It carries either a sequence or a start time.
type pageRequest struct {
	Seq       uint64     `json:"seq,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	Subject   string     `json:"next_by_subj,omitempty"`
	Batch     int        `json:"batch"`
	MaxBytes  int        `json:"max_bytes"`
}

var (
	errPageLost      = errors.New("NATS did not send all of the dead letters that were asked for")
	errNoDirectReads = errors.New("NATS does not serve direct reads of the stream")
	errMirror        = errors.New("a mirror answers reads of the dead letters, and it still has those that are gone; set mirror_direct to false")
)

// page reads letters; done means that none of those that the request selects
// follow. The messages are read from the socket as they are: helpers that look
// at a Status header first would take an event that was published with an empty
// body and a header of that name for the end of the page, and hide what comes
// after it.
func (q *Queue) page(ctx context.Context, r pageRequest) (letters []Letter, done bool, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, false, err
	}
	err = q.patiently(ctx, func() error {
		letters, done, err = q.readPage(ctx, body, r.Batch)
		return err
	}, errPageLost, errNoDirectReads)
	return letters, done, err
}

func (q *Queue) readPage(ctx context.Context, request []byte, size int) ([]Letter, bool, error) {
	nc, asked := q.js.Conn(), q.now()
	answers := make(chan *nats.Msg, size+1) // the letters, and the end of the page
	inbox := nc.NewInbox()
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	if err := nc.PublishRequest(q.api.Subject("DIRECT.GET."+q.names.DeadLettersStream()), inbox, request); err != nil {
		return nil, false, err
	}

	timeout := time.NewTimer(pageTimeout)
	defer timeout.Stop()
	letters := make([]Letter, 0, size)
	for {
		select {
		case m := <-answers:
			if m.Header.Get(jetstream.StreamHeader) == "" {
				return q.endPage(m, letters)
			}
			l, err := q.decode(m)
			if err != nil {
				return nil, false, err
			}
			l.read = asked
			letters = append(letters, l)
		case <-timeout.C:
			return nil, false, fmt.Errorf("%w: no answer within %v", errPageLost, pageTimeout)
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

// endPage reads the message that ends a page: it is not a stored one.
func (q *Queue) endPage(m *nats.Msg, letters []Letter) ([]Letter, bool, error) {
	switch status := m.Header.Get("Status"); status {
	case "204":
		pending := m.Header.Get("Nats-Num-Pending")
		last := m.Header.Get("Nats-Last-Sequence")
		if len(letters) == 0 || last != strconv.FormatUint(letters[len(letters)-1].Seq, 10) {
			return nil, false, errPageLost
		}
		return letters, pending == "0", nil
	case "404":
		return letters, true, nil
	case "503":
		return nil, false, fmt.Errorf("%w %s: it was deleted, or no server has it at the moment", errNoDirectReads, q.names.DeadLettersStream())
	default:
		return nil, false, fmt.Errorf("reading the stream %s: NATS answered %s %s", q.names.DeadLettersStream(), status, m.Header.Get("Description"))
	}
}

// decode makes a letter of a stored message. A message that Fanjet did not
// write is a letter with a Problem; an error means that the answer itself
// cannot be understood.
func (q *Queue) decode(m *nats.Msg) (Letter, error) {
	// The server's headers are the last ones, whatever was stored before them.
	last := func(key string) string {
		if values := m.Header[key]; len(values) > 0 {
			return values[len(values)-1]
		}
		return ""
	}
	// The mirror of a stream with direct reads takes part in them by default.
	if name := last(jetstream.StreamHeader); name != q.names.DeadLettersStream() {
		return Letter{}, fmt.Errorf("%w in the stream %s", errMirror, name)
	}
	seq, seqErr := strconv.ParseUint(last(jetstream.SequenceHeader), 10, 64)
	stored, timeErr := time.Parse(time.RFC3339Nano, last(jetstream.TimeStampHeaer))
	if err := errors.Join(seqErr, timeErr); err != nil {
		return Letter{}, fmt.Errorf("reading the stream %s: %w", q.names.DeadLettersStream(), err)
	}

	env, err := wire.ReadEnvelope(m.Header)
	l := Letter{
		Seq:          seq,
		EventID:      env.EventID,
		Key:          env.Key,
		Endpoint:     q.endpoint(last(jetstream.SubjectHeader)),
		Subject:      env.Subject,
		Source:       env.Source,
		Accepted:     env.Accepted,
		Generation:   env.Generation,
		FirstAttempt: env.FirstAttempt,
		LastAttempt:  env.LastAttempt,
		LastStatus:   env.LastStatus,
		LastError:    env.LastError,
		Reason:       Reason(m.Header.Get(HeaderReason)),
		DeadLettered: stored,
		Size:         len(m.Data),
		Headers:      wire.EventHeaders(m.Header),
		Data:         m.Data,
	}
	if l.Data == nil {
		l.Data = []byte{} // an empty body is a body
	}
	l.ByReference = l.Reason == ReasonTooLarge && len(m.Data) == 0
	attempts, attemptsErr := strconv.Atoi(m.Header.Get(HeaderAttempts))
	l.Attempts = attempts
	if err == nil && env.Endpoint != l.Endpoint {
		err = fmt.Errorf("header %s names %q", wire.HeaderEndpoint, env.Endpoint)
	}
	if err == nil && (attemptsErr != nil || !slices.Contains(Reasons(), l.Reason)) {
		err = fmt.Errorf("header %s or %s is missing or unknown", HeaderReason, HeaderAttempts)
	}
	if err != nil {
		l.Problem = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return l, nil
}
