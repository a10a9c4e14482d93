package dlq

import (
	"fmt"
	"testing"

	"fanjet/internal/natstest"
)

// durabilities are the two that the embedded server offers.
var durabilities = map[string]natstest.Options{"fsync": {SyncAlways: true}, "interval": {}}

func BenchmarkList(b *testing.B) {
	f := newFixture(b, natstest.Options{})
	f.putMany(b.N)
	b.ResetTimer()
	n := 0
	for _, err := range f.List(b.Context(), Filter{}) {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	if n != b.N {
		b.Fatalf("listed %d letters, want %d", n, b.N)
	}
}

func BenchmarkReplay(b *testing.B) {
	for name, options := range durabilities {
		for _, filter := range []Filter{{}, {Reason: ReasonExhausted}} {
			b.Run(fmt.Sprintf("%s/reason=%s", name, filter.Reason), func(b *testing.B) {
				f := newFixture(b, options)
				f.putMany(b.N)
				b.ResetTimer()
				out, err := f.Replay(b.Context(), filter, ReplayOptions{})
				if err != nil || out.Done != b.N {
					b.Fatalf("Replay() = %+v, %v", out, err)
				}
			})
		}
	}
}
