package outcome

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxRetryAfter bounds what an endpoint may ask for.
	MaxRetryAfter = time.Hour
	// absurdRetryAfter is from where on it cannot be meant: mostly it is a Unix
	// time where a number of seconds belongs.
	absurdRetryAfter = 24 * time.Hour
)

// ParseRetryAfter reads a Retry-After header (RFC 9110, 10.2.3): seconds or a
// date. It returns 0 for none and never more than an hour. sane is false when
// the value counts as none because it cannot be meant: it is neither seconds nor
// a date, in the past, or more than a day ahead.
func ParseRetryAfter(value string, now time.Time) (wait time.Duration, sane bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, true
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return 0, false // too many digits
		}
		wait = time.Duration(seconds) * time.Second
	} else {
		date, err := http.ParseTime(value)
		if err != nil {
			return 0, false
		}
		wait = date.Sub(now)
	}
	if wait < 0 || wait > absurdRetryAfter {
		return 0, false
	}
	return min(wait, MaxRetryAfter), true
}
