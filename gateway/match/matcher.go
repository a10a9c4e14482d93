package match

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"

	"github.com/nats-io/nats-server/v2/server/gsl"
)

// Matcher finds the endpoints of events. It never changes and is safe for
// concurrent use.
type Matcher struct {
	subscriptions []subscription // in order of declaration
	endpoints     []string       // each name once; elsewhere an endpoint is its index here
	subjects      *gsl.GenericSublist[int]
	scratch       sync.Pool // of *scratch
}

// subscription is a [Subscription] that is ready to match.
type subscription struct {
	name      string
	subjects  []string
	filter    *filter // nil: every event passes
	endpoints []int
}

// New prepares subscriptions for matching. It returns all errors at once; for
// a wrong filter there is a [*FilterError] among them.
func New(subscriptions []Subscription) (*Matcher, error) { return build(subscriptions, new(Filters)) }

func build(subscriptions []Subscription, filters *Filters) (*Matcher, error) {
	b := builder{
		matcher:   &Matcher{subjects: gsl.NewSublist[int]()},
		names:     make(map[string]bool),
		endpoints: make(map[string]int),
		filters:   filters,
	}
	var errs []error
	for _, s := range subscriptions {
		if err := b.add(s); err != nil {
			errs = append(errs, fmt.Errorf("subscription %q: %w", s.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return b.matcher, nil
}

// builder holds what is only needed while a Matcher is made.
type builder struct {
	matcher   *Matcher
	names     map[string]bool
	endpoints map[string]int
	filters   *Filters // many subscriptions can share one
}

func (b *builder) add(s Subscription) error {
	var errs []error
	if s.Name == "" {
		errs = append(errs, errors.New("the name is empty"))
	} else if b.names[s.Name] {
		errs = append(errs, errors.New("the name is used twice"))
	}
	b.names[s.Name] = true
	if len(s.Subjects) == 0 {
		errs = append(errs, errors.New("no subjects; name at least one"))
	}
	if len(s.Endpoints) == 0 {
		errs = append(errs, errors.New("no endpoints; name at least one"))
	}
	index := len(b.matcher.subscriptions)
	for _, pattern := range s.Subjects {
		if err := CheckSubject(pattern); err != nil {
			errs = append(errs, err)
		} else if err := b.matcher.subjects.Insert(pattern, index); err != nil {
			errs = append(errs, fmt.Errorf("subject %q: %w", pattern, err))
		}
	}
	prepared := subscription{name: s.Name, subjects: s.Subjects}
	if s.Filter != "" {
		var err error
		if prepared.filter, err = b.filters.get(s.Filter); err != nil {
			errs = append(errs, fmt.Errorf("filter: %w", err))
		}
	}
	for _, name := range s.Endpoints {
		prepared.endpoints = append(prepared.endpoints, b.endpoint(name))
	}
	b.matcher.subscriptions = append(b.matcher.subscriptions, prepared)
	return errors.Join(errs...)
}

// endpoint returns the index of an endpoint.
func (b *builder) endpoint(name string) int {
	index, ok := b.endpoints[name]
	if !ok {
		index = len(b.matcher.endpoints)
		b.endpoints[name] = index
		b.matcher.endpoints = append(b.matcher.endpoints, name)
	}
	return index
}

// Match appends the endpoints that get the event to dst: each once, in the
// order in which the subscriptions that match declare them. It allocates
// nothing of its own unless a filter runs.
//
// A filter that lacks something in the event does not match; that is no error.
// For a filter that fails otherwise (wrong types, division by zero, too
// costly) onError is called, if it is not nil, before Match returns; the
// subscription does not match, the others are not affected. It is called, too, for
// each filter that needs the data of an event that has none which filters can
// read; that error is an [*UnreadableError].
func (m *Matcher) Match(ev *Event, dst []string, onError func(subscription string, err error)) []string {
	s := m.acquire(ev)
	defer m.release(s)
	m.subjects.Match(ev.Subject, s.mark)
	for w, word := range s.marked {
		for ; word != 0; word &= word - 1 { // each bit, the lowest first
			sub := &m.subscriptions[w*64+bits.TrailingZeros64(word)]
			if sub.filter != nil {
				s.vars.refused = false
				out, err := sub.filter.run(&s.vars)
				switch {
				case out == passed:
				case onError == nil:
				case s.vars.refused && out != rejected:
					onError(sub.name, s.vars.dataErr)
				case out == failed:
					onError(sub.name, err)
				}
				if out != passed {
					continue
				}
			}
			for _, endpoint := range sub.endpoints {
				if s.seen.add(endpoint) {
					dst = append(dst, m.endpoints[endpoint])
				}
			}
		}
	}
	return dst
}

// scratch is the memory that matching one event needs.
type scratch struct {
	marked bitset // subscriptions one of whose subjects matched
	seen   bitset // endpoints that are in the result
	vars   variables

	mark func(subscription int) // adds to marked; made once, as it is a closure
}

// acquire returns scratch memory for an event.
func (m *Matcher) acquire(ev *Event) *scratch {
	s, ok := m.scratch.Get().(*scratch)
	if !ok {
		s = &scratch{marked: newBitset(len(m.subscriptions)), seen: newBitset(len(m.endpoints))}
		s.mark = func(subscription int) { s.marked.add(subscription) }
	}
	s.vars.event = ev
	return s
}

// release takes scratch memory back; it keeps nothing of the event.
func (m *Matcher) release(s *scratch) {
	clear(s.marked)
	clear(s.seen)
	s.vars.reset()
	m.scratch.Put(s)
}

// bitset is a set of small numbers.
type bitset []uint64

// newBitset returns an empty set for the numbers below n.
func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

// add puts n into the set and reports whether it was not there yet.
func (b bitset) add(n int) bool {
	word, bit := &b[n/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
