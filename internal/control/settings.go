package control

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"fanjet/subscriber/endpoint"
)

// EndpointSettings are the settings of an endpoint that are no secret, in the
// words of the configuration.
type EndpointSettings struct {
	URL          string   `json:"url"` // without path and query, which may be secret
	Headers      []string `json:"headers,omitempty"`
	Timeout      string   `json:"timeout"`
	MaxInFlight  int      `json:"max_in_flight"`
	RateLimit    string   `json:"rate_limit,omitempty"`
	Ordered      bool     `json:"ordered,omitempty"`
	OnExhausted  string   `json:"on_exhausted,omitempty"`
	Schedule     []string `json:"retry_schedule"`
	Jitter       float64  `json:"retry_jitter"`
	MaxAge       string   `json:"retry_max_age"`
	Circuit      string   `json:"circuit"`
	DeadLetterOn []int    `json:"dead_letter_on"`
}

func settingsOf(e *endpoint.Settings) *EndpointSettings {
	s := &EndpointSettings{
		URL:          publicURL(e.URL),
		Headers:      slices.Sorted(maps.Keys(e.Headers)),
		Timeout:      plainDuration(e.Timeout),
		MaxInFlight:  e.MaxInFlight,
		Ordered:      e.Ordered,
		Schedule:     []string{},
		Jitter:       e.Retry.Jitter,
		MaxAge:       plainDuration(e.Retry.MaxAge),
		Circuit:      "never opens",
		DeadLetterOn: e.DeadLetterOn,
	}
	for _, wait := range e.Retry.Schedule {
		s.Schedule = append(s.Schedule, plainDuration(wait))
	}
	if e.RateLimit.Count > 0 {
		unit := "s"
		if e.RateLimit.Per == time.Minute {
			unit = "m"
		}
		s.RateLimit = fmt.Sprintf("%d/%s", e.RateLimit.Count, unit)
	}
	if e.Ordered {
		s.OnExhausted = "dead_letter"
		if e.Block {
			s.OnExhausted = "block"
		}
	}
	if c := e.Circuit; e.Ordered {
		s.Circuit = "none: the first of the line is tried again on its schedule, and the others wait"
	} else if c.Failures > 0 {
		failures := "1 failure"
		if c.Failures > 1 {
			failures = fmt.Sprintf("%d failures", c.Failures)
		}
		s.Circuit = fmt.Sprintf("opens after %s in a row, probes every %s to %s",
			failures, plainDuration(c.Probe), plainDuration(c.MaxProbe))
	}
	return s
}

// publicURL is a URL without what may carry a secret.
func publicURL(u *url.URL) string {
	if u == nil {
		return ""
	}
	text := u.Scheme + "://" + u.Host
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		text += "/…"
	}
	return text
}

// plainDuration is a duration as people write it: 2m, not 2m0s.
func plainDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
