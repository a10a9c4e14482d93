package subscriber

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter bounds what an endpoint may ask for.
const maxRetryAfter = time.Hour

// parseRetryAfter reads a Retry-After header (RFC 9110, 10.2.3): seconds or a
// date. It returns 0 for none, one in the past or one that is unreadable, and
// never more than an hour.
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseUint(value, 10, 32)
		if err != nil || time.Duration(seconds)*time.Second > maxRetryAfter {
			return maxRetryAfter // too many digits, or too long
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), maxRetryAfter)
}
