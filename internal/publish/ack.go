package publish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// readAck reads the answer to a publish on a subject; count is the size of the
// batch that it committed, 0 for none. known means that the stream held the
// message already; a batch with such a message is refused.
func (p *Publisher) readAck(answer *nats.Msg, subject string, count int) (known bool, err error) {
	if count == 0 && p.isPlainAck(answer.Data) {
		return false, nil
	}
	if len(answer.Data) == 0 && answer.Header.Get("Status") == "503" {
		return false, nats.ErrNoResponders
	}
	var ack struct {
		Error     *jetstream.APIError `json:"error"`
		Stream    string              `json:"stream"`
		Count     int                 `json:"count"`
		Duplicate bool                `json:"duplicate"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return false, fmt.Errorf("unreadable answer to a publish: %w", err)
	}
	if ack.Error != nil {
		return false, ack.Error
	}
	if ack.Stream != p.opts.Stream {
		return false, fmt.Errorf("subject %s was taken by the stream %q instead of %q", subject, ack.Stream, p.opts.Stream)
	}
	if ack.Count != count {
		return false, fmt.Errorf("the server stored %d messages of a batch of %d", ack.Count, count)
	}
	return ack.Duplicate, nil
}

// isPlainAck recognizes what nearly every answer is, without decoding it:
// {"stream":"NAME","seq":1}. An answer that looks otherwise is decoded.
func (p *Publisher) isPlainAck(data []byte) bool {
	digits, ok := bytes.CutPrefix(data, p.plainAck)
	if !ok || len(digits) < 2 || digits[len(digits)-1] != '}' {
		return false
	}
	for _, c := range digits[:len(digits)-1] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// plainAck is how an answer of a stream begins.
func plainAck(stream string) []byte {
	return []byte(`{"stream":` + strconv.Quote(stream) + `,"seq":`)
}

// class is what an attempt to publish means for its messages.
type class int

const (
	held       class = iota // a fault that will pass
	stored                  // acknowledged
	duplicates              // an atomic batch with a known message id
	refused                 // because of what the messages are
	conflict                // a message expects another last sequence than there is
	contended               // whether it does is not decided: another message for its subject comes first
	full                    // no room
)

// Error codes that this needs beyond those that nats.go names.
const (
	codeBatchDuplicate    jetstream.ErrorCode = 10201
	codeIDInProcess       jetstream.ErrorCode = 10158 // an earlier message with the id is not decided yet
	codeSubjectInProcess  jetstream.ErrorCode = 10164 // an earlier one for the subject is not, or is in the same batch
	codeInsufficient      jetstream.ErrorCode = 10023
	codeStoreFailed       jetstream.ErrorCode = 10077 // also: maximum messages or bytes exceeded
	codeAccountExceeded   jetstream.ErrorCode = 10002
	codeStorageExceeded   jetstream.ErrorCode = 10047
	codeStreamSealed      jetstream.ErrorCode = 10109
	codeNotEnabledAccount jetstream.ErrorCode = 10039
	codeMessageTooLarge   jetstream.ErrorCode = 10054
	codeHeaderTooLarge    jetstream.ErrorCode = 10097
)

// classify says what the outcome of a publish means.
func classify(err error) class {
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
	case jetstream.JSErrCodeStreamWrongLastSequence:
		return conflict
	case codeSubjectInProcess:
		return contended
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
func IsRefused(err error) bool { return classify(err) == refused }

// IsFull reports whether err, the answer of JetStream to a message, means that the stream,
// or the server's storage, has no room for it.
func IsFull(err error) bool { return errors.Is(err, ErrFull) || classify(err) == full }

// IsConflict reports whether err, the outcome of a message, means that its stream, or
// its subject, has another last sequence than the message expects. The message was
// not stored: neither now nor by an earlier try, if it has an id.
func IsConflict(err error) bool { return classify(err) == conflict }

// IsTooLarge reports whether the message was refused because of its size, or
// that of its headers.
func IsTooLarge(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrMaxPayload) ||
		errors.As(err, &api) && (api.ErrorCode == codeMessageTooLarge || api.ErrorCode == codeHeaderTooLarge)
}
