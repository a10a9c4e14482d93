package publish

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"fanjet/internal/failpoint"
)

// Headers of an atomic batch (NATS ADR-50).
const (
	headerBatchID     = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
)

// batchHeaders bounds what those headers add to a message, in bytes.
const batchHeaders = 256

// tryBatch publishes the items as one atomic batch.
func (p *Publisher) tryBatch(items []item) error {
	ctx, cancel := p.reset.context(p.ctx)
	defer cancel()
	if err := p.connected(); err != nil {
		return err
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
	last := len(items) - 1
	for i := range items {
		it := &items[i]
		if it.msg.Header == nil {
			it.msg.Header = make(nats.Header, 3)
		}
		it.staged = true
		it.msg.Reply = ""
		it.msg.Header[headerBatchID] = id
		it.msg.Header[headerBatchSeq] = p.sequence(i)
		if i == last {
			break
		}
		delete(it.msg.Header, headerBatchCommit)
		if err := p.opts.Conn.PublishMsg(it.msg); err != nil {
			return fmt.Errorf("staging message %d of %d: %w", i+1, len(items), err)
		}
		failpoint.Hit(failpoint.Publishing)
	}
	// The commit is what stores them: one that became stale while they were staged
	// stops it.
	for i := range items {
		if !p.fresh(&items[i]) {
			return ErrStale
		}
	}
	items[last].msg.Header[headerBatchCommit] = []string{"1"}
	return p.commit(ctx, items[last].msg, len(items))
}

// commit publishes the last message of a batch and reads the answer.
func (p *Publisher) commit(ctx context.Context, m *nats.Msg, count int) error {
	timed, cancel := context.WithTimeoutCause(ctx, p.opts.AckTimeout, nats.ErrTimeout)
	defer cancel()
	resp, err := p.opts.Conn.RequestMsgWithContext(timed, m)
	if err != nil {
		if cause := context.Cause(timed); cause != nil {
			return cause
		}
		return err
	}
	_, err = p.readAck(resp, m.Subject, count)
	return err
}

// sequence is the value of the header of the message at a place of a batch.
func (p *Publisher) sequence(place int) []string {
	for len(p.sequences) <= place {
		p.sequences = append(p.sequences, []string{strconv.Itoa(len(p.sequences) + 1)})
	}
	return p.sequences[place]
}

// unstage removes the headers of a batch that came to nothing.
func (it *item) unstage() {
	if !it.staged {
		return
	}
	it.staged = false
	delete(it.msg.Header, headerBatchID)
	delete(it.msg.Header, headerBatchSeq)
	delete(it.msg.Header, headerBatchCommit)
}
