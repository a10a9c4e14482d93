package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"fanjet/subscriber/endpoint"
)

const day = 24 * time.Hour

var daysPrefix = regexp.MustCompile(`^(\d+)d(.*)$`)

// parseDuration reads a duration of Go, optionally after a whole number of
// days: 1m30s, 7d, 1d12h. A bare 0 needs no unit.
func parseDuration(text string) (time.Duration, error) {
	invalid := fmt.Errorf("must be a duration such as 15s, 2m, 1h30m or 7d, not %s", quote(text))
	if _, err := strconv.ParseFloat(text, 64); err == nil && strings.Trim(text, "0") != "" {
		return 0, fmt.Errorf("%s needs a unit: write %ss, %sm or %sh", quote(text), text, text, text)
	}
	var days time.Duration
	rest := text
	if m := daysPrefix.FindStringSubmatch(text); m != nil {
		number, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil || number > int64(math.MaxInt64/day) || strings.HasPrefix(m[2], "-") || strings.HasPrefix(m[2], "+") {
			return 0, invalid
		}
		if days, rest = time.Duration(number)*day, m[2]; rest == "" {
			return days, nil
		}
	}
	value, err := time.ParseDuration(rest)
	if err != nil || value > math.MaxInt64-days {
		return 0, invalid
	}
	return days + value, nil
}

// formatDuration is the shortest text that parseDuration reads as value.
func formatDuration(value time.Duration) string {
	if value >= day && value%day == 0 {
		return strconv.FormatInt(int64(value/day), 10) + "d"
	}
	text := value.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

var sizeText = regexp.MustCompile(`^(\d+) ?(KiB|MiB|GiB|TiB)?$`)

// parseSize reads a number of bytes, optionally with a binary unit.
func parseSize(text string) (int64, error) {
	m := sizeText.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("must be a number of bytes such as 1048576, 512MiB or 10GiB, not %s", quote(text))
	}
	shift := map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[m[2]]
	number, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || number > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%s is too large", quote(text))
	}
	return number << shift, nil
}

var rateText = regexp.MustCompile(`^(\d+)/(s|m)$`)

// parseRate reads a number of attempts in a second or a minute, such as 100/s
// or 600/m. Empty text is no limit.
func parseRate(text string) (endpoint.Rate, error) {
	if text == "" {
		return endpoint.Rate{}, nil
	}
	m := rateText.FindStringSubmatch(text)
	if m == nil {
		return endpoint.Rate{}, fmt.Errorf("must be a rate such as 100/s or 600/m, not %s%s", quote(text), rateHint(text))
	}
	count, err := strconv.Atoi(m[1])
	if err != nil || count < 1 || count > endpoint.MaxRate {
		return endpoint.Rate{}, fmt.Errorf("must be a rate from 1/m to %d/s, not %s; leave it empty for no limit", endpoint.MaxRate, quote(text))
	}
	per := time.Second
	if m[2] == "m" {
		per = time.Minute
	}
	return endpoint.Rate{Count: count, Per: per}, nil
}

var (
	bareRate    = regexp.MustCompile(`^\d+$`)
	spelledRate = regexp.MustCompile(`^(\d+) *(?:/|p|per) *(s|m)[a-z]*$`)
)

// rateHint says how a slip in a rate is written right.
func rateHint(text string) string {
	if bareRate.MatchString(text) {
		return fmt.Sprintf(": write %s/s or %s/m", text, text)
	}
	if m := spelledRate.FindStringSubmatch(strings.ToLower(text)); m != nil {
		return fmt.Sprintf("; did you mean %s/%s?", m[1], m[2])
	}
	return ""
}
