package outcome

import (
	"testing"
	"time"
)

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	const absurd = -1
	for value, want := range map[string]time.Duration{
		"":                                 0,
		"0":                                0,
		"120":                              2 * time.Minute,
		" 120 ":                            2 * time.Minute,
		"3600":                             time.Hour,
		"3601":                             time.Hour,
		"86400":                            time.Hour,
		"86401":                            absurd,
		"1767268830":                       absurd, // a Unix time, soon
		"1767268830000":                    absurd, // in milliseconds
		"4294967296":                       absurd, // 1<<32
		"9223372037":                       absurd, // more than a time.Duration holds
		"99999999999999999999999999":       absurd,
		"-5":                               absurd,
		"-1767268830":                      absurd,
		"1.5":                              absurd,
		"soon":                             absurd,
		"NaN":                              absurd,
		"+5":                               absurd,
		"1e3":                              absurd,
		"0x10":                             absurd,
		"\u0665":                           absurd, // a digit, but not of ours
		"7, 8":                             absurd,
		"-9223372036854775808":             absurd,
		"18446744073709551616":             absurd,
		"2026-01-01T12:00:30Z":             absurd, // a date, but not of HTTP
		"Fri, 31 Dec 9999 23:59:59 GMT":    absurd,
		"Fri, 31 Dec 12026 23:59:59 GMT":   absurd,
		"Mon, 01 Jan 0001 00:00:00 GMT":    absurd,
		"Thu, 01 Jan 1970 00:00:30 GMT":    absurd, // seconds, taken for a Unix time
		"Thu, 01 Jan 2026 12:00:00 GMT":    0,
		"Thu, 01 Jan 2026 12:00:30 GMT":    30 * time.Second,
		"Thursday, 01-Jan-26 12:00:30 GMT": 30 * time.Second,
		"Thu Jan  1 12:00:30 2026":         30 * time.Second,
		"Thu, 01 Jan 2026 11:59:59 GMT":    absurd,
		"Thu, 01 Jan 2026 13:00:01 GMT":    time.Hour,
		"Fri, 02 Jan 2026 12:00:00 GMT":    time.Hour,
		"Fri, 02 Jan 2026 12:00:01 GMT":    absurd,
		"Fri, 01 Jan 2027 12:00:00 GMT":    absurd,
	} {
		got, sane := ParseRetryAfter(value, now)
		if !sane && got == 0 {
			got = absurd
		}
		if got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{"1", "Thu, 01 Jan 2026 12:00:30 GMT", "-1", "1e9", "18446744073709551616", "1767268830"} {
		f.Add(seed)
	}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		d, sane := ParseRetryAfter(value, now)
		if d < 0 || d > MaxRetryAfter || d != 0 && !sane {
			t.Errorf("%q: %v, %v", value, d, sane)
		}
	})
}
