package lanes

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// The front of the stream is removed up to the first delivery that is not settled, in
// whichever lane that is, and nothing beyond: not what a lane without a consumer holds,
// nor anything by a floor that cannot be trusted or is past the end.
func TestTruncateAll(t *testing.T) {
	t.Parallel()
	errNotTrusted := errors.New("not to be trusted")
	for name, test := range map[string]struct {
		stored  string         // the lanes of the messages, one after the other
		acked   map[string]int // how many of a lane, from its first; a lane without has no consumer
		check   error
		pastEnd bool // the stream lost its end
		err     error
		left    string
		emptied string
	}{
		"all is settled":                 {stored: "abab", acked: map[string]int{"a": 2, "b": 2}, emptied: "ab"},
		"one is not, in the middle":      {stored: "abab", acked: map[string]int{"a": 2, "b": 0}, left: "bab"},
		"the last is not, up to a floor": {stored: "abab", acked: map[string]int{"a": 2, "b": 1}, left: "ab"},
		"one of the first is not":        {stored: "abab", acked: map[string]int{"a": 0, "b": 2}, left: "abab"},
		"nobody pulls one":               {stored: "aaba", acked: map[string]int{"a": 3}, left: "ba"},
		"the floor cannot be trusted":    {stored: "aab", acked: map[string]int{"a": 2, "b": 1}, check: errNotTrusted, err: errNotTrusted, left: "aab"},
		"the stream lost its end":        {stored: "baa", acked: map[string]int{"a": 2, "b": 1}, pastEnd: true, err: errPastEnd, left: "baa"},
		"there is nothing":               {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := natstest.Start(t, natstest.Options{}).JetStream()
			names := wire.NewNames("")
			stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: names.LanesStream(), Subjects: []string{names.LaneSubject("*")}})
			if err != nil {
				t.Fatal(err)
			}
			for _, lane := range test.stored {
				if _, err := js.Publish(t.Context(), names.LaneSubject(string(lane)), []byte(string(lane))); err != nil {
					t.Fatal(err)
				}
			}
			for lane, n := range test.acked {
				c, err := js.CreateConsumer(t.Context(), names.LanesStream(), jetstream.ConsumerConfig{
					Durable: names.LaneConsumer(lane), FilterSubject: names.LaneSubject(lane), AckPolicy: jetstream.AckExplicitPolicy,
				})
				if err != nil {
					t.Fatal(err)
				}
				for range n {
					m, err := c.Next()
					if err == nil {
						err = m.DoubleAck(t.Context())
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			l := New(Options{
				Conn: js.Conn(), JetStream: js, Names: names, Log: zap.NewNop(), Sampled: zap.NewNop(), ServerTime: time.Now,
				Consumers: fakeConsumers{check: test.check},
			}, &members{})
			if test.pastEnd {
				l.stream = shorter{stream}
			}
			emptied, err := l.truncateAll(t.Context())
			slices.Sort(emptied)
			if got := strings.Join(emptied, ""); got != test.emptied || !errors.Is(err, test.err) {
				t.Errorf("emptied %q, %v; want %q", got, err, test.emptied)
			}
			var left string
			info, err := stream.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
				m, err := stream.GetMsg(t.Context(), seq)
				if err != nil {
					t.Fatal(err)
				}
				left += string(m.Data)
			}
			if left != test.left {
				t.Errorf("left: %q, want %q", left, test.left)
			}
		})
	}
}

// shorter is a stream that lost its last message.
type shorter struct{ jetstream.Stream }

func (s shorter) Info(ctx context.Context, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	info, err := s.Stream.Info(ctx, opts...)
	if err == nil {
		info.State.LastSeq--
	}
	return info, err
}
