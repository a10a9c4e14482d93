package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Headers of an atomic batch (NATS ADR-50).
const (
	headerBatchID     = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
)

// batchHeaders bounds what those headers add to a message, in bytes.
const batchHeaders = 256

// Waits between two tries while messages are held.
const (
	minHold = 50 * time.Millisecond
	maxHold = 2 * time.Second
)

// send publishes the items, in order, and completes each.
func (p *Publisher) send(items []item) {
	if p.pace.oneByOne(len(items)) {
		for i := range items {
			p.send(items[i : i+1])
		}
		return
	}
	wait := minHold
	for {
		began := time.Now()
		err := p.try(items)
		switch verdict(err) {
		case stored:
			p.pace.observe(len(items), time.Since(began))
			p.setHeld(nil)
			complete(items, nil)
			return

		case duplicates:
			// Some are stored already, perhaps all of them: a commit whose answer
			// was lost, or an event that is fanned out again. One by one the server
			// tells which.
			for i := range items {
				p.send(items[i : i+1])
			}
			return

		case refused:
			if len(items) == 1 {
				p.setHeld(nil)
				complete(items, err)
				return
			}
			half := len(items) / 2
			p.send(items[:half])
			p.send(items[half:])
			return

		case full:
			if p.opts.FailWhenFull {
				p.setHeld(nil)
				complete(items, fmt.Errorf("%w: %w", ErrFull, err))
				return
			}
		}

		if p.ctx.Err() != nil {
			complete(items, ErrClosed)
			return
		}
		if p.Held() == nil {
			p.log.Warn("publishing is held; it is tried again until it succeeds", zap.Int("messages", len(items)), zap.Error(err))
		}
		p.setHeld(err)
		select {
		case <-time.After(wait):
		case <-p.ctx.Done():
		}
		wait = min(2*wait, maxHold)
	}
}

// try makes one publish of the items: atomic when there are several.
func (p *Publisher) try(items []item) error {
	if !p.opts.Conn.IsConnected() {
		return nats.ErrDisconnected
	}
	ctx, cancel := p.reset.context(p.ctx, p.opts.AckTimeout)
	defer cancel()

	last := items[len(items)-1].msg
	if len(items) == 1 {
		delete(last.Header, headerBatchID)
		delete(last.Header, headerBatchSeq)
		delete(last.Header, headerBatchCommit)
		return p.request(ctx, last, 0)
	}

	// Nothing is staged in vain: the server keeps a batch that is never committed
	// for ten seconds, and refuses all when there are 50.
	for i := range items {
		if items[i].size+batchHeaders > int(p.opts.Conn.MaxPayload()) {
			return nats.ErrMaxPayload // unless it fits alone
		}
	}
	p.batchSeq++
	id := []string{p.batchPrefix + strconv.FormatUint(p.batchSeq, 36)}
	for i := range items {
		m := items[i].msg
		if m.Header == nil {
			m.Header = make(nats.Header, 3)
		}
		m.Header[headerBatchID] = id
		m.Header[headerBatchSeq] = []string{strconv.Itoa(i + 1)}
		if i == len(items)-1 {
			break
		}
		delete(m.Header, headerBatchCommit)
		if err := p.opts.Conn.PublishMsg(m); err != nil {
			return fmt.Errorf("staging message %d of %d: %w", i+1, len(items), err)
		}
	}
	last.Header[headerBatchCommit] = []string{"1"}
	return p.request(ctx, last, len(items))
}

// request publishes m and reads the acknowledgement; count is the size of the
// batch that m commits, 0 for none.
func (p *Publisher) request(ctx context.Context, m *nats.Msg, count int) error {
	resp, err := p.opts.Conn.RequestMsgWithContext(ctx, m)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	var ack struct {
		Error  *jetstream.APIError `json:"error"`
		Stream string              `json:"stream"`
		Count  int                 `json:"count"`
	}
	if err := json.Unmarshal(resp.Data, &ack); err != nil {
		return fmt.Errorf("unreadable answer to a publish: %w", err)
	}
	if ack.Error != nil {
		return ack.Error
	}
	if ack.Stream != p.opts.Stream {
		return fmt.Errorf("subject %s was taken by the stream %q instead of %q", m.Subject, ack.Stream, p.opts.Stream)
	}
	if ack.Count != count {
		return fmt.Errorf("the server stored %d messages of a batch of %d", ack.Count, count)
	}
	return nil
}

// class is what an attempt to publish means for its messages.
type class int

const (
	held       class = iota // a fault that will pass
	stored                  // acknowledged
	duplicates              // an atomic batch with a known message id
	refused                 // because of what the messages are
	full                    // no room
)

// Error codes that the verdict needs beyond those that nats.go names.
const (
	codeBatchDuplicate    jetstream.ErrorCode = 10201
	codeIDInProcess       jetstream.ErrorCode = 10158 // an earlier message with the id is not decided yet
	codeInsufficient      jetstream.ErrorCode = 10023
	codeStoreFailed       jetstream.ErrorCode = 10077 // also: maximum messages or bytes exceeded
	codeAccountExceeded   jetstream.ErrorCode = 10002
	codeStorageExceeded   jetstream.ErrorCode = 10047
	codeStreamSealed      jetstream.ErrorCode = 10109
	codeNotEnabledAccount jetstream.ErrorCode = 10039
	codeMessageTooLarge   jetstream.ErrorCode = 10054
	codeHeaderTooLarge    jetstream.ErrorCode = 10097
)

// verdict classifies the outcome of try.
func verdict(err error) class {
	if err == nil {
		return stored
	}
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadHeaderMsg) || errors.Is(err, nats.ErrBadSubject) {
		return refused
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return held // no answer, connection lost, stream away
	}
	switch api.ErrorCode {
	case codeBatchDuplicate:
		return duplicates
	case codeInsufficient, codeStoreFailed, codeAccountExceeded, codeStorageExceeded:
		return full
	case codeStreamSealed, codeNotEnabledAccount, codeIDInProcess:
		return held // the stream's state, whatever the message
	}
	if api.Code >= 400 && api.Code < 500 && api.Code != 408 && api.Code != 429 {
		return refused
	}
	return held
}

// ErrFull means that the stream, or the server's storage, has no room.
var ErrFull = errors.New("stream is full")

// IsRefused reports whether err, the outcome of a message, means that
// JetStream refused the message because of what it is: trying again cannot
// help.
func IsRefused(err error) bool { return verdict(err) == refused }

// IsTooLarge reports whether the message was refused because of its size, or
// that of its headers.
func IsTooLarge(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrMaxPayload) ||
		errors.As(err, &api) && (api.ErrorCode == codeMessageTooLarge || api.ErrorCode == codeHeaderTooLarge)
}
