package match

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"fanjet/internal/natstest"
)

func TestCheckSubject(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"events":                 "",
		"events.orders.*.paid":   "",
		"events.>":               "",
		"*":                      "",
		">":                      "",
		"*.>":                    "",
		"events.héllo.日本":        "",
		"events.$x._-/:":         "",
		"":                       "empty",
		".":                      "empty token",
		"events.":                "empty token",
		".events":                "empty token",
		"events..orders":         "empty token",
		"events.>.paid":          "must be the last token",
		">.>":                    "must be the last token",
		"events.order*":          "no wildcard",
		"events.*paid":           "no wildcard",
		"events.a>":              "no wildcard",
		"**":                     "no wildcard",
		"events. orders":         `contains ' '`,
		"events\torders":         `contains '\t'`,
		"events.orders\r\n":      `contains '\r'`,
		"events.\x00":            `contains '\x00'`,
		"events.\u00a0":          "contains",
		"events.\xff":            "UTF-8",
		strings.Repeat(".", 100): "empty token",
	} {
		err := CheckSubject(pattern)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("CheckSubject(%q) = %v, want %q", pattern, err, want)
		}
	}
}

// token draws a token of a small vocabulary, so that patterns and subjects
// often meet.
var token = rapid.SampledFrom([]string{"a", "b", "orders", "é", "-"})

// subject draws a literal subject.
var subject = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(token, 1, 5).Draw(t, "tokens"), ".")
})

// pattern draws a valid pattern.
var pattern = rapid.Custom(func(t *rapid.T) string {
	tokens := rapid.SliceOfN(rapid.OneOf(token, rapid.Just("*")), 0, 4).Draw(t, "tokens")
	if len(tokens) == 0 || rapid.Bool().Draw(t, "open") {
		tokens = append(tokens, ">")
	}
	return strings.Join(tokens, ".")
})

// TestSubjectsLikeServer publishes through a real server to one subscription a
// pattern and compares who got the message with what Match says.
func TestSubjectsLikeServer(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t, natstest.Options{}).Conn()
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfNDistinct(pattern, 1, 12, rapid.ID).Draw(t, "patterns")
		published := subject.Draw(t, "subject")

		var declared []Subscription
		var received []*nats.Subscription
		for _, p := range patterns {
			declared = append(declared, Subscription{Name: p, Subjects: []string{p}, Endpoints: []string{p}})
			sub, err := nc.SubscribeSync(p)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := sub.Unsubscribe(); err != nil {
					t.Error(err)
				}
			}()
			received = append(received, sub)
		}
		m, err := New(declared)
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Publish(published, nil); err != nil {
			t.Fatal(err)
		}
		// When the server has answered, it has delivered what came before.
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		var want []string
		for i, sub := range received {
			if n, _, err := sub.Pending(); err != nil {
				t.Fatal(err)
			} else if n > 0 {
				want = append(want, patterns[i])
			}
		}
		if got := m.Match(&Event{Subject: published}, nil, nil); !equal(got, want) {
			t.Fatalf("%s goes to %q, the server delivers to %q", published, got, want)
		}
	})
}

// FuzzSubject compares single patterns and subjects of any form with the
// server's own functions.
func FuzzSubject(f *testing.F) {
	for _, seed := range [][2]string{
		{"a.*.c", "a.b.c"},
		{"a.>", "a"},
		{">", "a.b"},
		{"a.b", "a.b"},
		{"*.*", "a"},
		{"a*", "a*"},
		{"a..b", "a.b"},
		{"a.>.b", "a.c.b"},
		{"a b", "a b"},
		{strings.Repeat("*.", 40) + ">", strings.Repeat("a.", 40) + "b"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, subject string) {
		m, err := New([]Subscription{{Name: "s", Subjects: []string{pattern}, Endpoints: []string{"e"}}})
		if (err == nil) != (CheckSubject(pattern) == nil) {
			t.Fatalf("New says %v, CheckSubject %v", err, CheckSubject(pattern))
		}
		if err != nil {
			return
		}
		if !server.IsValidSubject(pattern) {
			t.Fatalf("%q is accepted, but not a subject for the server", pattern)
		}
		if !server.IsValidLiteralSubject(subject) {
			// What cannot be published must only not crash.
			m.Match(&Event{Subject: subject}, nil, nil)
			return
		}
		got := len(m.Match(&Event{Subject: subject}, nil, nil)) == 1
		if want := server.SubjectsCollide(pattern, subject); got != want {
			t.Fatalf("%q matches %q: %v, the server says %v", pattern, subject, got, want)
		}
	})
}

// equal compares two lists; nil and empty are the same.
func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
