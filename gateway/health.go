package gateway

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"fanjet/internal/broker"
)

// health collects why the gateway cannot do its work at the moment. The zero
// value knows of no part.
type health struct {
	log *zap.Logger

	mu     sync.Mutex
	faults map[string]error     // by part; nil: the part works
	since  map[string]time.Time // since when a part fails, in ways that pass; see setPatiently
	logged map[string][]string  // what was said of a part since it works no more, without figures
}

// The parts that say whether the stores of NATS take anything: of the embedded
// server as a whole, and of each of our streams.
const partStore, partStorage = "nats store", "storage"

// set says how a part does. A change is logged; that figures in what is wrong are
// others now, such as a countdown, is none.
func (h *health) set(part string, err error) {
	before := h.swap(part, err)
	switch {
	case err != nil && h.news(part, err):
		h.log.Warn("not ready", zap.String("part", part), zap.Error(err))
	case err == nil && before != nil:
		h.log.Info("ready again", zap.String("part", part))
	}
}

// maxLogged bounds what is remembered of a part for that.
const maxLogged = 32

// news reports whether that was not said yet since the part works no more.
func (h *health) news(part string, err error) bool {
	text := withoutFigures(err.Error())
	h.mu.Lock()
	defer h.mu.Unlock()
	said := h.logged[part]
	if slices.Contains(said, text) {
		return false
	}
	if h.logged == nil {
		h.logged = make(map[string][]string)
	}
	h.logged[part] = append(said[max(0, len(said)-maxLogged+1):], text)
	return true
}

// withoutFigures returns a text with "#" in the place of every word that begins
// with a digit, with its sign: numbers, durations and times.
func withoutFigures(text string) string {
	return figure.ReplaceAllString(text, "${1}#")
}

// figure is a number with what is attached to it, such as 1.5, 1m30s or 12:00:00Z,
// and more of them that follow at once, such as those of "1 h 5 min". A name like
// EVENTS_2 has none.
var figure = regexp.MustCompile(`(^|[^\pL\pN_-])[-+]?\pN[\pL\pN.:,%+-]*(?: ?(?:ms|s|min|h|d|seconds?|minutes?|hours?|days?|[KMG]i?B|bytes)\b)?(?:(?: and)? \pN[\pL\pN.:,%+-]*(?: ?(?:ms|s|min|h|d|seconds?|minutes?|hours?|days?)\b)?)*`)

// patience is how long a part may fail in ways that pass by themselves before it
// counts.
const patience = 10 * time.Second

// setPatiently is [health.set] for a part that asks NATS how things are: that a
// busy server leaves it without an answer once says nothing about the work.
func (h *health) setPatiently(part string, err error) {
	if broker.Transient(err) {
		h.mu.Lock()
		if h.since == nil {
			h.since = make(map[string]time.Time)
		}
		since, lasting := h.since[part]
		if !lasting {
			h.since[part] = time.Now()
		}
		h.mu.Unlock()
		if !lasting || time.Since(since) < patience {
			return
		}
	} else {
		h.mu.Lock()
		delete(h.since, part)
		h.mu.Unlock()
	}
	h.set(part, err)
}

// setQuietly says how a part does, without a word in the log.
func (h *health) setQuietly(part string, err error) { _ = h.swap(part, err) }

// swap says how a part does, and returns how it did before.
func (h *health) swap(part string, err error) (before error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.faults == nil {
		h.faults = make(map[string]error)
	}
	before, h.faults[part] = h.faults[part], err
	if err == nil {
		delete(h.logged, part)
	}
	return before
}

// fails reports whether a part cannot do its work.
func (h *health) fails(part string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.faults[part] != nil
}

// err returns every fault, in order of the parts' names.
func (h *health) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, part := range slices.Sorted(maps.Keys(h.faults)) {
		if err := h.faults[part]; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", part, err))
		}
	}
	return errors.Join(errs...)
}
