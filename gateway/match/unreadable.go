package match

import "errors"

// UnreadableError says why filters cannot read the body of an event: it is empty,
// no JSON, or JSON that parsers read in different ways. A filter that needs `data`
// has no value then, whatever else the event has.
type UnreadableError struct {
	// Reason never repeats anything of the event, so that it can be logged.
	Reason string
	// Byte is where in the body that was found, from 1; 0 if it is true of all of it.
	Byte int

	cause error // with what is there; nil: there is nothing
}

// unreadable makes one of an error of [parseJSON].
func unreadable(err error) *UnreadableError {
	e := &UnreadableError{Reason: err.Error(), cause: err}
	if wrong, ok := errors.AsType[*jsonError](err); ok {
		e.Reason, e.Byte = wrong.reason, wrong.at
	}
	return e
}

// Error implements error. It may quote a character or a key of the event: it is for
// who has the event before them.
func (e *UnreadableError) Error() string {
	if e.cause == nil {
		return "the event has no data"
	}
	return "the event's data is not JSON that filters can use: " + e.cause.Error()
}

// Unwrap returns the error of the parser, if there is one.
func (e *UnreadableError) Unwrap() error { return e.cause }
