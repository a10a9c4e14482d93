package endpoint

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"fanjet/webhook"
)

// Bounds of the settings of an endpoint. They keep slips out: none is a limit
// of the machinery.
const (
	// MinDuration is the shortest timeout, wait or age.
	MinDuration = time.Millisecond
	// MaxTimeout is the longest attempt. It holds a slot all the while.
	MaxTimeout = 10 * time.Minute
	// MaxInFlight bounds the attempts at once, a gateway replica.
	MaxInFlight = 10_000
	// MaxSchedule bounds the number of waits in a schedule.
	MaxSchedule = 100
	// MaxWait is the longest wait in a schedule.
	MaxWait = 30 * 24 * time.Hour
	// MaxAge is the longest that a delivery may be tried.
	MaxAge = 365 * 24 * time.Hour
	// MaxHeaders bounds the number of headers that an endpoint adds.
	MaxHeaders = 64
	// MaxSecrets bounds the number of secrets; every receiver must accept that
	// many signatures.
	MaxSecrets = 16
	// MaxRate bounds the count of a rate limit.
	MaxRate = 1_000_000
	// MaxFailures bounds the failures that open a circuit.
	MaxFailures = 1_000_000
	// MaxProbe bounds the waits between probes.
	MaxProbe = 24 * time.Hour
)

var endpointName = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// CheckName reports why an endpoint cannot have a name, nil if it can. The name
// is a token of subjects and a label of metrics.
func CheckName(name string) error {
	if !endpointName.MatchString(name) {
		return errors.New("the name of an endpoint consists of 1 to 63 lower-case letters, digits and dashes")
	}
	return nil
}

// CheckSecret reports why a secret cannot sign, nil if it can. The error never
// contains any of it.
func CheckSecret(text string) error {
	_, err := webhook.NewSigner(text)
	if err == nil {
		return nil
	}
	// The wrapped text counts the secrets, of which there is one here.
	reason := strings.TrimPrefix(err.Error(), webhook.ErrSecret.Error()+" (1 of 1): ")
	return fmt.Errorf("%s; `fanjet secret new` makes one that fits", reason)
}
