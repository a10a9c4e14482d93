package chaos

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"fanjet/internal/failpoint"
)

// plan is a run of the metamorphic test. Its text says all of it, so that a run can
// be done again, and a part of it. The seed decides to which endpoints an event goes
// and what they answer; that stays when events or endpoints are left out.
type plan struct {
	seed      uint64
	events    []int // numbers, rising
	endpoints []string
	faults    []breakage
	settings  []setting // those that are not the first of their dimension
}

// breakage is a fault that is entered when the events below a number are
// published.
type breakage struct {
	kind string
	at   int
	arg  string // which gateway or endpoint, and how
}

// setting is the choice in one dimension of the configuration.
type setting struct{ dimension, value string }

func (b breakage) String() string {
	text := b.kind + "@" + strconv.Itoa(b.at)
	if b.arg != "" {
		text += ":" + b.arg
	}
	return text
}

func (s setting) String() string { return s.dimension + ":" + s.value }

// String is what parsePlan reads.
func (p plan) String() string {
	return fmt.Sprintf("seed=%d events=%s endpoints=%s faults=%s settings=%s",
		p.seed, ranges(p.events), strings.Join(p.endpoints, ","), texts(p.faults), texts(p.settings))
}

func texts[T fmt.Stringer](items []T) string {
	var out []string
	for _, item := range items {
		out = append(out, item.String())
	}
	return strings.Join(out, ",")
}

// ranges writes rising numbers: "0-9,12".
func ranges(numbers []int) string {
	var out []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		one := strconv.Itoa(numbers[i])
		if j > i {
			one += "-" + strconv.Itoa(numbers[j])
		}
		out, i = append(out, one), j+1
	}
	return strings.Join(out, ",")
}

// parsePlan reads the text of a plan.
func parsePlan(text string) (p plan, err error) {
	for field := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(field, "=")
		var list []string
		if value != "" {
			list = strings.Split(value, ",")
		}
		switch name {
		case "seed":
			p.seed, err = strconv.ParseUint(value, 10, 64)
		case "events":
			p.events, err = parseRanges(list)
		case "endpoints":
			p.endpoints = list
		case "faults":
			p.faults, err = parseFaults(list)
		case "settings":
			for _, one := range list {
				dimension, value, _ := strings.Cut(one, ":")
				p.settings = append(p.settings, setting{dimension, value})
			}
		default:
			err = fmt.Errorf("there is no field %q", name)
		}
		if err != nil {
			return plan{}, fmt.Errorf("plan: %s: %w", field, err)
		}
	}
	return p, p.check()
}

func parseRanges(list []string) (numbers []int, err error) {
	for _, one := range list {
		from, to, isRange := strings.Cut(one, "-")
		first, err := strconv.Atoi(from)
		if err != nil {
			return nil, err
		}
		last := first
		if isRange {
			if last, err = strconv.Atoi(to); err != nil {
				return nil, err
			}
		}
		for n := first; n <= last; n++ {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

func parseFaults(list []string) (faults []breakage, err error) {
	for _, one := range list {
		kind, rest, _ := strings.Cut(one, "@")
		number, arg, _ := strings.Cut(rest, ":")
		at, err := strconv.Atoi(number)
		if err != nil {
			return nil, err
		}
		faults = append(faults, breakage{kind, at, arg})
	}
	return faults, nil
}

// check says what is wrong with a plan.
func (p plan) check() error {
	if len(p.events) == 0 || len(p.endpoints) == 0 {
		return fmt.Errorf("plan: it has no event or no endpoint")
	}
	if !slices.IsSorted(p.events) || p.events[0] < 0 {
		return fmt.Errorf("plan: events are not in order")
	}
	for _, endpoint := range p.endpoints {
		if !slices.Contains(allEndpoints(), endpoint) {
			return fmt.Errorf("plan: there is no endpoint %q", endpoint)
		}
	}
	for _, b := range p.faults {
		if breakages()[b.kind] == nil {
			return fmt.Errorf("plan: there is no fault %q", b.kind)
		}
	}
	for _, s := range p.settings {
		if !slices.ContainsFunc(dimensions(), func(d dimension) bool { return d.name == s.dimension && slices.Contains(d.values, s.value) }) {
			return fmt.Errorf("plan: there is no setting %q", s)
		}
	}
	return nil
}

// drawn are the events and faults of a seed.
func drawn(seed uint64) plan {
	rng := rand.New(rand.NewPCG(seed, 3))
	p := plan{seed: seed, endpoints: allEndpoints()}
	events := 60 + rng.IntN(60)
	for n := range events {
		p.events = append(p.events, n)
	}
	for range 2 + rng.IntN(4) {
		p.faults = append(p.faults, drawnFault(rng, events))
	}
	slices.SortStableFunc(p.faults, func(a, b breakage) int { return a.at - b.at })
	return p
}

func drawnFault(rng *rand.Rand, events int) breakage {
	b := breakage{at: rng.IntN(events)}
	gateway := strconv.Itoa(rng.IntN(2))
	switch lot := rng.IntN(100); {
	case lot < 20:
		b.kind, b.arg = "kill", gateway
	case lot < 50:
		points := deadly()
		b.kind, b.arg = "die", fmt.Sprintf("%s:%s:%d", gateway, points[rng.IntN(len(points))], 1+rng.IntN(8))
	case lot < 60:
		b.kind, b.arg = "stop", gateway
	case lot < 65:
		b.kind, b.arg = "freeze", gateway
	case lot < 75:
		b.kind = "server"
	case lot < 80:
		b.kind = "serverkill"
	case lot < 90:
		b.kind = "reload"
	default:
		all := allEndpoints()
		b.kind, b.arg = "pause", all[rng.IntN(len(all))]
	}
	return b
}

// deadly are the points at which a gateway can be told to die.
func deadly() []failpoint.Point {
	return []failpoint.Point{
		failpoint.EventFetched, failpoint.EventMatched, failpoint.Enqueued, failpoint.Publishing,
		failpoint.FanoutPartly, failpoint.FanoutStored, failpoint.CursorWritten,
		failpoint.Offered, failpoint.DirectSettled, failpoint.DirectFailed, failpoint.WrittenDown,
		failpoint.LeaseStored, failpoint.LeaseReplaced, failpoint.LeaseDropped, failpoint.MarkStored,
		failpoint.DeliveryFetched, failpoint.Attempting, failpoint.RequestSent, failpoint.Accepted,
		failpoint.RetryStored, failpoint.HeadStored, failpoint.LetterStored,
		failpoint.Diverting, failpoint.LaneStored, failpoint.Truncating, failpoint.Truncated,
		failpoint.EndpointsReplaced, failpoint.MatcherReplaced,
	}
}

// under returns the plan under a random configuration. The first variant of a seed
// is that of all defaults.
func (p plan) under(variant int) plan {
	rng := rand.New(rand.NewPCG(p.seed, 100+uint64(variant)))
	p.settings = nil
	for _, d := range dimensions() {
		if value := d.values[rng.IntN(len(d.values))]; variant > 0 && value != d.values[0] {
			p.settings = append(p.settings, setting{d.name, value})
		}
	}
	return p
}

// lot draws a number below n that depends on nothing but the seed and what it is
// for.
func (p plan) lot(n int, for_ ...any) int {
	h := fnv.New64a()
	_, _ = fmt.Fprintln(h, append([]any{p.seed}, for_...)...)
	return rand.New(rand.NewPCG(h.Sum64(), p.seed)).IntN(n)
}
