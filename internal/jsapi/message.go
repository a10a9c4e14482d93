package jsapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoMessage means that a stream has no such message.
var ErrNoMessage = errors.New("the stream has no such message")

// Message is one that a stream stores.
type Message struct {
	Subject  string
	Sequence uint64
	Data     []byte    // not nil
	Time     time.Time // when it was stored

	header []byte
}

// Message returns the message with a sequence number. The leader of the stream
// answers, so that it is the latest state. It returns [ErrNoMessage].
func (a API) Message(ctx context.Context, stream string, sequence uint64) (*Message, error) {
	return a.message(ctx, stream, selection{Sequence: sequence})
}

// Next returns the first message on a subject from a sequence number on;
// otherwise it is as [API.Message].
func (a API) Next(ctx context.Context, stream, subject string, from uint64) (*Message, error) {
	return a.message(ctx, stream, selection{Sequence: from, Subject: subject})
}

// Last returns the latest message on a subject, which may have wildcards;
// otherwise it is as [API.Message].
func (a API) Last(ctx context.Context, stream, subject string) (*Message, error) {
	return a.message(ctx, stream, selection{Last: subject})
}

type selection struct {
	Sequence uint64 `json:"seq,omitempty"`
	Subject  string `json:"next_by_subj,omitempty"`
	Last     string `json:"last_by_subj,omitempty"`
}

// Subjects returns the subjects below a filter that a stream has messages on, as
// its leader knows them, in any order.
func (a API) Subjects(ctx context.Context, stream, filter string) ([]string, error) {
	return a.SubjectsUpTo(ctx, stream, filter, math.MaxInt)
}

// SubjectsUpTo is [API.Subjects] for who wants none of them if there are more than most;
// then it may return any number above that.
func (a API) SubjectsUpTo(ctx context.Context, stream, filter string, most int) ([]string, error) {
	var subjects []string
	for {
		var answer struct {
			Total int `json:"total"`
			State struct {
				Subjects map[string]uint64 `json:"subjects"`
			} `json:"state"`
		}
		question := struct {
			Filter string `json:"subjects_filter"`
			Offset int    `json:"offset"`
		}{filter, len(subjects)}
		if err := a.Ask(ctx, "STREAM.INFO."+stream, question, &answer); err != nil {
			return nil, err
		}
		for subject := range answer.State.Subjects {
			subjects = append(subjects, subject)
		}
		if len(answer.State.Subjects) == 0 || len(subjects) >= answer.Total || len(subjects) > most {
			return subjects, nil
		}
	}
}

func (a API) message(ctx context.Context, stream string, s selection) (*Message, error) {
	var found struct {
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	err := a.Ask(ctx, "STREAM.MSG.GET."+stream, s, &found)
	switch {
	case IsCode(err, jetstream.JSErrCodeMessageNotFound):
		return nil, ErrNoMessage
	case err != nil:
		return nil, err
	case found.Message.Sequence < s.Sequence:
		return nil, fmt.Errorf("NATS answered with the message %d of the stream %s", found.Message.Sequence, stream)
	}
	m := &Message{
		Subject: found.Message.Subject, Sequence: found.Message.Sequence, Data: found.Message.Data, Time: found.Message.Time,
		header: found.Message.Header,
	}
	if m.Data == nil {
		m.Data = []byte{}
	}
	return m, nil
}

// Header returns the headers, nil if there are none. The error means that they
// cannot be read; the message is stored nevertheless.
func (m *Message) Header() (nats.Header, error) {
	if len(m.header) == 0 {
		return nil, nil
	}
	return nats.DecodeHeadersMsg(m.header)
}

// StoredTime returns when a stream stored a message; the zero time if it is
// gone.
func StoredTime(ctx context.Context, js jetstream.JetStream, stream string, seq uint64) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, js.Options().DefaultTimeout)
	defer cancel()
	m, err := Of(js).Message(ctx, stream, seq)
	switch {
	case errors.Is(err, ErrNoMessage):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("cannot read the event %s/%d: %w", stream, seq, err)
	}
	return m.Time, nil
}

// Remove removes a message from a stream; its text is not overwritten. It returns
// [ErrNoMessage].
func (a API) Remove(ctx context.Context, stream string, sequence uint64) error {
	question := struct {
		Sequence uint64 `json:"seq"`
		NoErase  bool   `json:"no_erase"`
	}{sequence, true}
	var answer struct{}
	err := a.Ask(ctx, "STREAM.MSG.DELETE."+stream, question, &answer)
	switch {
	case IsCode(err, codeSequenceNotFound):
		return ErrNoMessage
	case IsCode(err, codeDeleteFailed):
		// Why, the server says in words only.
		if _, missing := a.Message(ctx, stream, sequence); errors.Is(missing, ErrNoMessage) {
			return ErrNoMessage
		}
	}
	return err
}

// Codes that nats.go does not name.
const (
	codeSequenceNotFound jetstream.ErrorCode = 10043
	codeDeleteFailed     jetstream.ErrorCode = 10057
)
