package config

import (
	"errors"
	"fmt"
	"strings"
)

// Options steer [Load].
type Options struct {
	// LookupEnv finds the variables that "env:NAME" refers to; nil means
	// [os.LookupEnv].
	LookupEnv func(name string) (value string, ok bool)
	// NoSecrets leaves the secrets that env: and file: name unread, for checks
	// on a machine that does not have them. The endpoints of the result then
	// lack those secrets: it must not be run.
	NoSecrets bool
	// NATS, if not empty, takes the place of nats.url.
	NATS string
}

// Errors is what [Load] returns for a configuration that cannot be used: all
// that is wrong with it, in order of file and place.
type Errors struct {
	Problems []Problem // at least one
	Warnings []Problem
}

// Error prints a line for each problem.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// String is "file:line:column: message"; what is not known is left out.
func (p Problem) String() string {
	switch {
	case p.Line == 0:
		return fmt.Sprintf("%s: %s", p.File, p.Message)
	case p.Column == 0:
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
	default:
		return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	}
}

// Load reads the configuration in the file path, with everything that it
// includes. It returns *[Errors] when anything is wrong with it; the messages
// never contain a secret.
func Load(path string, opts Options) (*Config, error) {
	return nil, errors.New("config.Load is being written")
}
