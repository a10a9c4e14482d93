package subscriber

import (
	"testing"
	"time"
)

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                                 0,
		"0":                                0,
		"120":                              2 * time.Minute,
		" 120 ":                            2 * time.Minute,
		"3600":                             time.Hour,
		"3601":                             time.Hour,
		"99999999999999999999999999":       time.Hour,
		"-5":                               0,
		"1.5":                              0,
		"soon":                             0,
		"NaN":                              0,
		"+5":                               0,
		"1e3":                              0,
		"0x10":                             0,
		"\u0665":                           0, // a digit, but not of ours
		"7, 8":                             0,
		"-9223372036854775808":             0,
		"18446744073709551616":             time.Hour,
		"Fri, 31 Dec 9999 23:59:59 GMT":    time.Hour,
		"Fri, 31 Dec 12026 23:59:59 GMT":   0,
		"Mon, 01 Jan 0001 00:00:00 GMT":    0,
		"Thu, 01 Jan 2026 12:00:30 GMT":    30 * time.Second,
		"Thursday, 01-Jan-26 12:00:30 GMT": 30 * time.Second,
		"Thu, 01 Jan 2026 11:59:00 GMT":    0,
		"Fri, 01 Jan 2027 12:00:00 GMT":    time.Hour,
	} {
		if got := parseRetryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{"1", "Thu, 01 Jan 2026 12:00:30 GMT", "-1", "1e9", "18446744073709551616"} {
		f.Add(seed)
	}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		if d := parseRetryAfter(value, now); d < 0 || d > maxRetryAfter {
			t.Errorf("%q: %v", value, d)
		}
	})
}
