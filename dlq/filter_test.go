package dlq

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"pgregory.net/rapid"
)

func TestFilterValidate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tests := []struct {
		name   string
		filter Filter
		want   string // part of the error; empty: none
	}{
		{"zero", Filter{}, ""},
		{"all set", Filter{Endpoint: "a-1", Reason: ReasonRejected, Subject: "a.*.>", Since: now, Until: now.Add(1), ID: "msg_1", Limit: 3}, ""},
		{"wildcard as endpoint", Filter{Endpoint: "*"}, `endpoint: "*"`},
		{"two tokens as endpoint", Filter{Endpoint: "a.b"}, `endpoint: "a.b"`},
		{"upper case", Filter{Endpoint: "Billing"}, "lower-case"},
		{"unknown reason", Filter{Reason: "bored"}, `"bored" is unknown; it is one of [exhausted expired`},
		{"empty token", Filter{Subject: "a..b"}, `subject: "a..b"`},
		{"tail in the middle", Filter{Subject: "a.>.b"}, `subject: "a.>.b"`},
		{"space", Filter{Subject: "a b"}, `subject: "a b"`},
		{"backwards", Filter{Since: now, Until: now}, "is not before until"},
		{"negative limit", Filter{Limit: -1}, "limit: -1 is negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.filter.Validate()
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Validate() = %v, want none", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Validate() = %v, want something with %q", err, tt.want)
			}
		})
	}
}

// TestSubjectMatchesLikeTheServer compares with what the NATS server says about
// the same pattern and subject.
func TestSubjectMatchesLikeTheServer(t *testing.T) {
	t.Parallel()
	token := rapid.SampledFrom([]string{"a", "b", "ab"})
	rapid.Check(t, func(t *rapid.T) {
		subject := strings.Join(rapid.SliceOfN(token, 1, 5).Draw(t, "subject"), ".")
		parts := rapid.SliceOfN(rapid.OneOf(token, rapid.Just("*")), 0, 5).Draw(t, "pattern")
		if len(parts) == 0 || rapid.Bool().Draw(t, "tail") {
			parts = append(parts, ">")
		}
		pattern := strings.Join(parts, ".")
		if got, want := subjectMatches(pattern, subject), server.SubjectsCollide(subject, pattern); got != want {
			t.Fatalf("subjectMatches(%q, %q) = %v, the server says %v", pattern, subject, got, want)
		}
	})
}
