package match

import (
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"fanjet/internal/wire"
)

// Event is what subscriptions are matched against.
type Event struct {
	ID      string
	Subject string
	Header  map[string][]string // a nats.Header can be assigned; nil: none
	Data    []byte              // the body; filters see it if it is JSON
	Time    time.Time           // when the event was accepted
}

// variables gives one event's values to filters. What costs something is only
// made when a filter asks for it, and only once for all filters of the event.
type variables struct {
	event *Event

	parsed  bool
	data    any
	dataErr *UnreadableError // why there is no data
	refused bool             // a filter asked for data that there is not; set back before each filter

	tokens  []string
	headers map[string]string
	index   *wire.HeaderIndex
}

// reset lets go of the event; the memory for tokens and headers stays.
func (v *variables) reset() {
	clear(v.tokens)
	clear(v.headers)
	*v = variables{tokens: v.tokens[:0], headers: v.headers}
}

// ResolveName implements [cel.Activation].
func (v *variables) ResolveName(name string) (any, bool) {
	switch name {
	case varData:
		return v.resolveData(), true
	case varSubject:
		return v.event.Subject, true
	case varTokens:
		return v.resolveTokens(), true
	case varHeaders:
		return headerMap{v}, true
	case varID:
		return v.event.ID, true
	case varTime:
		return v.event.Time, true
	}
	return nil, false
}

// Parent implements [cel.Activation].
func (v *variables) Parent() cel.Activation { return nil }

// resolveData returns the parsed data, or if there is none an error value: an
// expression that needs it then has no result, unless `||` or `&&` gets by
// without.
func (v *variables) resolveData() any {
	if !v.parsed {
		v.parsed = true
		var err error
		if len(v.event.Data) == 0 {
			v.dataErr = &UnreadableError{Reason: "it is empty"}
		} else if v.data, err = parseJSON(v.event.Data); err != nil {
			v.dataErr = unreadable(err)
		}
	}
	if v.dataErr != nil {
		v.refused = true
		// A new one each time, as the interpreter notes in it where it occurred.
		return types.WrapErr(v.dataErr)
	}
	return v.data
}

func (v *variables) resolveTokens() []string {
	if len(v.tokens) == 0 {
		for token := range strings.SplitSeq(v.event.Subject, ".") {
			v.tokens = append(v.tokens, token)
		}
	}
	return v.tokens
}

// fewHeaders are so many that a header is looked for one by one. A filter may look
// for one in every step, and an event may have ten thousand.
const fewHeaders = 32

// header returns the values of a header in any spelling.
func (v *variables) header(name string) []string {
	if len(v.event.Header) <= fewHeaders {
		return wire.Header(v.event.Header, name)
	}
	if v.index == nil {
		index := wire.IndexHeaders(v.event.Header)
		v.index = &index
	}
	return v.index.Header(name)
}

// allHeaders returns the first value of each header, under the name as it was
// sent.
func (v *variables) allHeaders() map[string]string {
	if len(v.headers) == 0 {
		if v.headers == nil {
			v.headers = make(map[string]string, len(v.event.Header))
		}
		for name, values := range v.event.Header {
			if len(values) > 0 {
				v.headers[name] = values[0]
			}
		}
	}
	return v.headers
}
