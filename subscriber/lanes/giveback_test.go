package lanes

import (
	"slices"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// given is a delivery that is given back.
type given struct{ stream *fakeStream }

func (g given) Nak() { _ = g.stream.do("nak") }

// What was not attempted is given back once the lane is truncated: the server forgets at
// a purge what was given back before. While there are many lanes there is no such purge.
func TestGiveBackAfterThePurge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		waiting, lanes int
		want           []string
	}{
		"two wait":          {waiting: 2, lanes: 1, want: []string{"open", "purge", "nak", "nak"}},
		"nothing waits":     {lanes: 1},
		"two wait, of many": {waiting: 2, lanes: manyLanes, want: []string{"nak", "nak"}},
	} {
		stream := &fakeStream{state: jetstream.StreamState{LastSeq: 9}}
		e := new(member)
		for range test.waiting {
			e.waiting = append(e.waiting, given{stream})
		}
		l, _ := lanesOf(t, stream, map[string]*member{"a": e})
		l.looksAt(5, nil)
		for i := range test.lanes {
			l.of(strconv.Itoa(i)).count = 1
		}
		lane := l.of("a")
		lane.running = true
		lane.giveBack(t.Context())
		if !slices.Equal(stream.did, test.want) || lane.running || len(l.looking) != 1 {
			t.Errorf("%s: %v, running %v, looked over %d times", name, stream.did, lane.running, len(l.looking))
		}
	}
}
