package match

import "sync"

// Filters are filters that are compiled, by their text, so that each is compiled
// once: when a configuration is checked and when it is run, and when its next
// version has the same. The zero value has none. It is safe for concurrent use.
type Filters struct {
	mu     sync.Mutex
	byText map[string]*filter
}

// Check reports the first error of a filter as a [*FilterError], nil if there
// is none; then f has the filter. It is not compiled if before, which may be
// nil, has it. The empty filter is one that every event passes.
func (f *Filters) Check(expr string, before *Filters) error {
	if expr == "" {
		return nil
	}
	if before != nil {
		if known := before.known(expr); known != nil {
			f.keep(known)
			return nil
		}
	}
	_, err := f.get(expr)
	return err
}

// Warning says why a filter that [Filters.Check] accepted may cost too much for
// an event of usual size, and where; nil if it will not.
func (f *Filters) Warning(expr string) *FilterError {
	if known := f.known(expr); known != nil {
		return known.costly
	}
	return nil
}

// Matcher is [New] with the filters that f has; those that it lacks are
// compiled. f may be nil: it has none.
func (f *Filters) Matcher(subscriptions []Subscription) (*Matcher, error) {
	if f == nil {
		f = new(Filters)
	}
	return build(subscriptions, f)
}

// get returns a filter; it compiles one that is not known.
func (f *Filters) get(expr string) (*filter, error) {
	if known := f.known(expr); known != nil {
		return known, nil
	}
	language, err := filters()
	if err != nil {
		return nil, err
	}
	compiled, err := language.filter(expr)
	if err != nil {
		return nil, err
	}
	f.keep(compiled)
	return compiled, nil
}

func (f *Filters) known(expr string) *filter {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byText[expr]
}

func (f *Filters) keep(known *filter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byText == nil {
		f.byText = make(map[string]*filter)
	}
	f.byText[known.text] = known
}
