package dlq

import (
	"context"
	"errors"
	"testing"

	"fanjet/internal/natstest"
)

func TestPurge(t *testing.T) {
	t.Parallel()
	specs := []spec{{endpoint: "a"}, {endpoint: "b", reason: ReasonExpired}, {endpoint: "a", reason: ReasonExpired}, {endpoint: "c"}}
	tests := []struct {
		name    string
		filter  Filter
		options PurgeOptions
		want    int
		left    []uint64
	}{
		{"all", Filter{}, PurgeOptions{}, 4, nil},
		{"endpoint", Filter{Endpoint: "a"}, PurgeOptions{}, 2, []uint64{2, 4}},
		{"endpoint without letters", Filter{Endpoint: "d"}, PurgeOptions{}, 0, []uint64{1, 2, 3, 4}},
		{"reason", Filter{Reason: ReasonExpired}, PurgeOptions{}, 2, []uint64{1, 4}},
		{"endpoint and reason", Filter{Endpoint: "a", Reason: ReasonExpired}, PurgeOptions{}, 1, []uint64{1, 2, 4}},
		{"limit", Filter{Limit: 3}, PurgeOptions{}, 3, []uint64{4}},
		{"up to a sequence", Filter{Last: 2}, PurgeOptions{}, 2, []uint64{3, 4}},
		{"endpoint up to a sequence", Filter{Endpoint: "a", Last: 2}, PurgeOptions{}, 1, []uint64{2, 3, 4}},
		{"reason up to a sequence", Filter{Reason: ReasonExpired, Last: 2}, PurgeOptions{}, 1, []uint64{1, 3, 4}},
		{"rate", Filter{}, PurgeOptions{Rate: 1e6}, 4, nil},
		{"dry run", Filter{}, PurgeOptions{DryRun: true}, 4, []uint64{1, 2, 3, 4}},
		{"dry run with a filter", Filter{Reason: ReasonExpired}, PurgeOptions{DryRun: true}, 2, []uint64{1, 2, 3, 4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, natstest.Options{})
			f.put(specs...)
			out, err := f.Purge(t.Context(), tt.filter, tt.options)
			if err != nil || out.Done != tt.want || out.Skipped+out.Failed != 0 {
				t.Errorf("Purge() = %+v, %v, want %d done", out, err, tt.want)
			}
			left := f.list(Filter{})
			if len(left) != len(tt.left) {
				t.Fatalf("left %d letters, want %v", len(left), tt.left)
			}
			for i := range left {
				if left[i].Seq != tt.left[i] {
					t.Errorf("left the letter %d, want %v", left[i].Seq, tt.left)
				}
			}
		})
	}
}

func TestPurgeSkipsWhatIsGone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(spec{}, spec{})
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		if _, err := f.deleteLetter(ctx, seq); err != nil {
			return false, err
		}
		return f.deleteLetter(ctx, seq) // somebody was faster
	}
	out, err := f.Purge(t.Context(), Filter{Reason: ReasonExhausted}, PurgeOptions{})
	if err != nil || out.Skipped != 2 || out.Done+out.Failed != 0 {
		t.Errorf("Purge() = %+v, %v, want 2 skipped", out, err)
	}
}

func TestPurgeCancelled(t *testing.T) {
	t.Parallel()
	const n = 600
	f := newFixture(t, natstest.Options{})
	f.putMany(n)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		if seq == 300 {
			cancel()
		}
		return f.deleteLetter(ctx, seq)
	}
	out, err := f.Purge(ctx, Filter{Reason: ReasonExhausted}, PurgeOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Purge() = %+v, %v, want it cancelled", out, err)
	}
	f.remove = f.deleteLetter
	again, err := f.Purge(t.Context(), Filter{Reason: ReasonExhausted}, PurgeOptions{})
	if err != nil || out.Done+again.Done > n || again.Failed != 0 || f.letters() != 0 {
		t.Errorf("Purge() = %+v, %v after %+v; %d letters are left", again, err, out, f.letters())
	}
}
