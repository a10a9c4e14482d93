package dlq

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/publish"
	"fanjet/internal/wire"
)

// answers is a stream that answers one publish after the other.
type answers struct {
	errs []error
	sent []*nats.Msg
}

func (a *answers) Publish(_ context.Context, m *nats.Msg) error {
	a.sent = append(a.sent, m)
	err := a.errs[0]
	a.errs = a.errs[1:]
	return err
}

// A letter is stored when NATS has said so. One that NATS refuses for its size loses
// what its receiver said, and one that it refuses for whatever it is the event, which
// stays in its source; nothing else is given up for a letter.
func TestWriterGivesUpNoMoreThanItMust(t *testing.T) {
	t.Parallel()
	var (
		tooLarge = &jetstream.APIError{Code: 400, ErrorCode: 10054}
		refused  = &jetstream.APIError{Code: 400, ErrorCode: 10060}
		noAnswer = nats.ErrTimeout
	)
	const whole, unsaid, reference = "whole", "without its last error", "by reference"
	for name, test := range map[string]struct {
		reason  Reason
		said    string
		answers []error
		want    []string
	}{
		"stored":                               {ReasonExhausted, "x", []error{nil}, []string{whole}},
		"no answer":                            {ReasonExhausted, "x", []error{noAnswer}, []string{whole}},
		"no room":                              {ReasonExhausted, "x", []error{publish.ErrFull}, []string{whole}},
		"too large for what was said":          {ReasonExhausted, "x", []error{tooLarge, nil}, []string{whole, unsaid}},
		"too large all the same":               {ReasonExhausted, "x", []error{tooLarge, tooLarge, nil}, []string{whole, unsaid, reference}},
		"too large, and nothing was said":      {ReasonExhausted, "", []error{tooLarge, nil}, []string{whole, reference}},
		"too large, then no answer":            {ReasonExhausted, "x", []error{tooLarge, noAnswer}, []string{whole, unsaid}},
		"too large, then no room":              {ReasonExhausted, "x", []error{tooLarge, publish.ErrFull}, []string{whole, unsaid}},
		"refused, not for its size":            {ReasonExhausted, "x", []error{refused, nil}, []string{whole, reference}},
		"refused twice":                        {ReasonExhausted, "x", []error{refused, refused}, []string{whole, reference}},
		"by reference":                         {ReasonTooLarge, "x", []error{nil}, []string{reference}},
		"by reference, refused":                {ReasonTooLarge, "x", []error{refused}, []string{reference}},
		"by reference, too large":              {ReasonTooLarge, "x", []error{tooLarge, nil}, []string{reference, reference}},
		"by reference, too large and not said": {ReasonTooLarge, "", []error{tooLarge}, []string{reference}},
	} {
		stream := &answers{errs: test.answers}
		last := test.answers[len(test.answers)-1]
		w := Writer{Names: wire.NewNames(""), Publisher: stream}
		env := wire.Envelope{Endpoint: "a", Key: "k", Attempt: 3, LastError: test.said}
		err := w.Write(t.Context(), env, test.reason, 3, nats.Header{"X-Own": {"1"}}, []byte("body"), "hop")
		if !errors.Is(err, last) || (err == nil) != (last == nil) {
			t.Errorf("%s: %v, want %v", name, err, last)
		}
		if len(stream.sent) != len(test.want) {
			t.Errorf("%s: %d were published, want %d", name, len(stream.sent), len(test.want))
			continue
		}
		for i, want := range test.want {
			m := stream.sent[i]
			reason, attempts := Verdict(m.Header)
			if m.Subject != "fanjet.dlq.a" || m.Header.Get(nats.MsgIdHdr) != "hop" || attempts != 3 {
				t.Errorf("%s: %s with %v", name, m.Subject, m.Header)
			}
			has := whole
			switch {
			case string(m.Data) == "" && m.Header.Get("X-Own") == "" && reason == ReasonTooLarge:
				has = reference
			case m.Header.Get(wire.HeaderLastError) != test.said:
				has = unsaid
			}
			if has != want || has != reference && reason != test.reason {
				t.Errorf("%s: letter %d is %s, for reason %s; want it %s", name, i+1, has, reason, want)
			}
		}
	}
}
