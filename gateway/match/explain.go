package match

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/nats-io/nats-server/v2/server/gsl"
)

// Verdict says what one subscription makes of an event.
type Verdict struct {
	Subscription string
	Matched      bool
	Reason       string   // one line, why it matched or why not
	Endpoints    []string // of the subscription, matched or not
}

// Explain returns the verdict of every subscription, in order of declaration.
// Those that matched are the ones whose endpoints Match returns. It is made
// for people who ask, not for the path of every event.
func (m *Matcher) Explain(ev *Event) []Verdict {
	vars := &variables{event: ev}
	verdicts := make([]Verdict, 0, len(m.subscriptions))
	for _, sub := range m.subscriptions {
		v := Verdict{Subscription: sub.name}
		v.Matched, v.Reason = sub.explain(vars)
		for _, endpoint := range sub.endpoints {
			v.Endpoints = append(v.Endpoints, m.endpoints[endpoint])
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}

func (s *subscription) explain(vars *variables) (matched bool, reason string) {
	var pattern string
	for _, p := range s.subjects {
		if subjectMatches(p, vars.event.Subject) {
			pattern = p
			break
		}
	}
	if pattern == "" {
		return false, fmt.Sprintf("no subject pattern matches (%s)", strings.Join(s.subjects, ", "))
	}
	if s.filter == nil {
		return true, "subject matches " + pattern
	}
	out, err := s.filter.run(vars)
	switch out {
	case passed:
		return true, fmt.Sprintf("subject matches %s and filter is true", pattern)
	case rejected:
		return false, "filter is false: " + s.filter.falsePart(vars)
	case incomplete:
		return false, err.missing(vars)
	default:
		return false, fmt.Sprintf("filter cannot be evaluated: %v", err)
	}
}

// subjectMatches reports whether a valid pattern covers a subject.
func subjectMatches(pattern, subject string) (matches bool) {
	list := gsl.NewSimpleSublist()
	if list.Insert(pattern, struct{}{}) != nil {
		return false
	}
	list.Match(subject, func(struct{}) { matches = true })
	return matches
}

// falsePart returns the text of what makes a filter false that is: of several
// conditions joined by &&, the first one that is false.
func (f *filter) falsePart(vars *variables) string {
	program, err := f.language.env.Program(f.checked, append(limited(), cel.EvalOptions(cel.OptTrackState), cel.CustomDecoratorV2(exactly))...)
	if err != nil {
		return oneLine(f.text)
	}
	_, details, err := program.Eval(vars)
	if err != nil || details == nil {
		return oneLine(f.text)
	}
	isFalse := func(e ast.Expr) bool {
		value, ok := details.State().Value(e.ID())
		return ok && value == types.False
	}
	root := f.checked.NativeRep().Expr()
	part := root
descend:
	for part.Kind() == ast.CallKind && part.AsCall().FunctionName() == operators.LogicalAnd {
		for _, condition := range part.AsCall().Args() {
			if isFalse(condition) {
				part = condition
				continue descend
			}
		}
		break
	}
	if part == root {
		return oneLine(f.text) // as it was written, not as it would be printed
	}
	return f.quote(part)
}
