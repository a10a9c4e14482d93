package control

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
)

func statusesOf(n int) []endpoint.Status {
	statuses := make([]endpoint.Status, n)
	for i := range statuses {
		statuses[i] = endpoint.Status{
			Endpoint: fmt.Sprintf("endpoint-%d", i), State: endpoint.StateOpen, Reason: strings.Repeat("r", i%300),
			Since: time.Date(2026, 3, 1, 12, 0, i%60, 0, time.UTC), InFlight: i,
		}
	}
	return statuses
}

func TestPartsAndBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		statuses   int
		maxPayload int64
		parts      int // at least
	}{
		{0, 1 << 20, 1},
		{1, 1 << 20, 1},
		{1, 64, 1}, // too small for anything: one each
		{10_000, 1 << 20, 4},
		{10_000, 8 << 10, 300},
	} {
		t.Run(fmt.Sprintf("%d in %d bytes", test.statuses, test.maxPayload), func(t *testing.T) {
			t.Parallel()
			want := statusesOf(test.statuses)
			messages, err := Parts(Replica{ID: "one", Host: "h"}, want, test.maxPayload)
			if err != nil {
				t.Fatal(err)
			}
			if len(messages) < test.parts {
				t.Errorf("%d parts, want %d or more", len(messages), test.parts)
			}
			var a assembly
			slices.Reverse(messages) // nothing says that they come in order
			for i, m := range messages {
				if test.maxPayload > partHeadroom && int64(len(m)) > test.maxPayload {
					t.Errorf("part of %d bytes, more than %d", len(m), test.maxPayload)
				}
				if i > 0 && a.complete() {
					t.Fatalf("complete after %d of %d parts", i, len(messages))
				}
				for range 2 { // a part that comes twice counts once
					if err := a.add(m); err != nil {
						t.Fatal(err)
					}
				}
			}
			reports, err := a.reports()
			if err != nil || !a.complete() || len(reports) != 1 {
				t.Fatalf("reports() = %d, %v", len(reports), err)
			}
			got := reports[0].Statuses
			slices.SortFunc(got, func(x, y endpoint.Status) int { return x.InFlight - y.InFlight })
			if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Errorf("%d statuses came back, not the %d that were sent", len(got), len(want))
			}
		})
	}
}

func TestIncompleteAnswerIsAnError(t *testing.T) {
	t.Parallel()
	messages, err := Parts(Replica{ID: "one", Host: "machine"}, statusesOf(100), 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	var a assembly
	for _, m := range messages[1:] {
		if err := a.add(m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.reports(); err == nil || !strings.Contains(err.Error(), "on machine") {
		t.Errorf("reports() without a part: %v, want an error that names the machine", err)
	}
	for _, junk := range []string{"", "{", `{"endpoints": [7]}`} {
		if err := a.add([]byte(junk)); err == nil {
			t.Errorf("the answer %q is taken", junk)
		}
	}
}
