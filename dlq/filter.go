package dlq

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Filter selects letters; the zero value selects all. Every field that is set
// has to match. Endpoint and Since are fast, the others read every letter that
// those two leave.
type Filter struct {
	Endpoint string    // name
	Reason   Reason    // why the delivery was given up
	Subject  string    // of the event; NATS wildcards * and >
	Since    time.Time // dead-lettered at this time or later
	Until    time.Time // dead-lettered before this time
	ID       string    // webhook-id of the event
	Limit    int       // the first so many in order of age; 0: no limit
	After    uint64    // letters with a later sequence than this one: the next page

	// Last, if not 0, leaves out letters with a later sequence, see
	// [Queue.Freeze].
	Last uint64
}

var endpointName = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// Validate says what is wrong with the filter, in the words of the command
// line's flags.
func (f *Filter) Validate() error {
	if f.Endpoint != "" && !endpointName.MatchString(f.Endpoint) {
		return fmt.Errorf("endpoint: %q is no endpoint name; those have 1 to 63 lower-case letters, digits and dashes", f.Endpoint)
	}
	if f.Reason != "" && !slices.Contains(Reasons(), f.Reason) {
		return fmt.Errorf("reason: %q is unknown; it is one of %v", f.Reason, Reasons())
	}
	if f.Subject != "" {
		tokens := strings.Split(f.Subject, ".")
		for i, token := range tokens {
			if token == "" || strings.ContainsAny(token, " \t\r\n") || token == ">" && i < len(tokens)-1 {
				return fmt.Errorf("subject: %q is no NATS subject; tokens are separated by single dots, * stands for one token and > for all that follow", f.Subject)
			}
		}
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return fmt.Errorf("since: %s is not before until, %s", f.Since.Format(time.RFC3339), f.Until.Format(time.RFC3339))
	}
	if f.Limit < 0 {
		return fmt.Errorf("limit: %d is negative; 0 means no limit", f.Limit)
	}
	return nil
}

// Every reports whether nothing but Limit and the place in the queue keeps a
// letter from being selected: letters of every endpoint, for every reason. Limit
// says how many, not which.
func (f *Filter) Every() bool {
	which := *f
	which.Limit, which.After, which.Last = 0, 0, 0
	return which == (Filter{})
}

// IsEndpoint reports whether the filter selects all letters of one endpoint.
func (f *Filter) IsEndpoint() bool { return f.Endpoint != "" && f.bySubject() }

// bySubject, Last aside, reports whether the filter selects all letters of one endpoint, or
// of all endpoints: then the stream's own index will do.
func (f *Filter) bySubject() bool {
	return f.Reason == "" && f.Subject == "" && f.Since.IsZero() && f.Until.IsZero() && f.ID == "" && f.Limit == 0 && f.After == 0
}

// match checks everything but Endpoint, which the subject that is read checks,
// and Limit.
func (f *Filter) match(l *Letter) bool {
	return l.Seq > f.After && (f.Reason == "" || l.Reason == f.Reason) &&
		(f.ID == "" || l.EventID == f.ID) &&
		(f.Since.IsZero() || !l.DeadLettered.Before(f.Since)) &&
		(f.Until.IsZero() || l.DeadLettered.Before(f.Until)) &&
		(f.Subject == "" || subjectMatches(f.Subject, l.Subject))
}

// subjectMatches reports whether a NATS subject, which has no wildcards,
// matches the pattern.
func subjectMatches(pattern, subject string) bool {
	for {
		p, morePattern, pMore := strings.Cut(pattern, ".")
		s, moreSubject, sMore := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return s != ""
		case p != "*" && p != s, pMore != sMore:
			return false
		case !pMore:
			return true
		}
		pattern, subject = morePattern, moreSubject
	}
}
