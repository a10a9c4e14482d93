package control

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxAgo is the longest time ago that can be said in days.
const maxAgo = math.MaxInt64 / (24 * time.Hour)

// ParseTime reads a point in time: RFC 3339, or how long before now, such as 90m
// or 3d. Empty is the zero time, and nothing else is.
func ParseTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil && !t.IsZero() {
		return t, nil
	}
	ago, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		if ago = time.Duration(n) * 24 * time.Hour; time.Duration(n) > maxAgo {
			ago = -1
		}
	}
	if err != nil || ago < 0 {
		return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-03-01T12:00:00Z nor a duration such as 90m, 2h or 3d", text)
	}
	return now.Add(-ago), nil
}
