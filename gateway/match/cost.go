package match

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// costLimit is what one evaluation of a filter may cost. A step costs 1, and a
// loop over an array takes 5 to 10 steps for an element, so the limit is
// reached by nested loops over large arrays, after some tenths of a second.
//
// It counts work and not time, so that it does not depend on the load of the
// machine which subscriptions get an event.
const costLimit = 1_000_000

// limited returns the options of a program that may cost too much.
func limited() []cel.ProgramOption {
	return []cel.ProgramOption{cel.CostTracking(callCosts{}), cel.CostLimit(costLimit)}
}

// estimates is what is known about the cost of a filter before there is an
// event.
type estimates struct {
	// counted says that there are events for which the filter costs more than it
	// may. For other filters the cost need not be counted, which makes an
	// evaluation three to five times slower.
	counted bool
	// costly says that an event of quite usual size is such a one; nil: it is not.
	costly *FilterError
}

// estimate estimates the cost of a filter. It refuses one that costs too much
// whatever the event.
func (l *language) estimate(checked *cel.Ast) (estimates, error) {
	least, err := l.env.EstimateCost(checked, sizes(0))
	switch {
	case err != nil:
		return estimates{counted: true}, nil
	case least.Min > costLimit:
		return estimates{}, costError(checked, "it takes at least %d steps, and %d are allowed; loop over less", least.Min, costLimit)
	case least.Max <= costLimit:
		return estimates{}, nil
	}
	out := estimates{counted: true}
	if usual, err := l.env.EstimateCost(checked, sizes(usualSize)); err == nil && usual.Max > costLimit {
		out.costly = costError(checked,
			"with lists of %d elements it may take %d steps, and %d are allowed; an event for which it takes more does not match: loop over less",
			usualSize, usual.Max, costLimit)
	}
	return out, nil
}

// costError points at the loops of a filter: at the first one within another, or
// else at the first one.
func costError(checked *cel.Ast, format string, args ...any) *FilterError {
	e := &FilterError{Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}
	loops := celast.MatchDescendants(celast.NavigateAST(checked.NativeRep()), celast.KindMatcher(celast.ComprehensionKind))
	if len(loops) == 0 {
		return e
	}
	at := loops[0]
	for _, loop := range loops {
		if within(loop) {
			at = loop
			break
		}
	}
	info := checked.NativeRep().SourceInfo()
	place := info.GetStartLocation(at.ID())
	e.Line, e.Column = max(place.Line(), 1), max(place.Column()+1, 1)
	return e
}

// within reports whether a part of a filter is inside a loop.
func within(e celast.NavigableExpr) bool {
	for parent, ok := e.Parent(); ok; parent, ok = parent.Parent() {
		if parent.Kind() == celast.ComprehensionKind {
			return true
		}
	}
	return false
}

// usualSize is how many elements a list, and characters a string, of an event
// may well have.
const usualSize = 250

// sizes estimates that the values of an event are no larger than so; 0: nothing
// is known about them.
type sizes uint64

// EstimateCallCost implements [cost.Estimator]; nil leaves it to the
// interpreter.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// EstimateSize implements [cost.Estimator]; nil means unknown. It says nothing of
// what is not in the filter: the estimator asks for parts of parts of a value,
// down to a depth at which that takes minutes.
func (s sizes) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	if s == 0 || node.Expr() == nil {
		return nil
	}
	return &cost.SizeEstimate{Max: uint64(s)}
}

// callCosts is the cost of those calls for which the interpreter counts too
// little: those whose types are not known before the evaluation, as is common
// with data, comparisons of nested values, and some that it considers cheap.
// What is counted here grows with the work, including that of counting.
type callCosts struct{}

// timeZoneCost is for finding a time zone by its name, which reads a file.
const timeZoneCost = 1000

// CallCost implements [cost.ActualCostEstimator]; nil leaves the cost to the
// interpreter.
func (callCosts) CallCost(function, overload string, args []ref.Val, _ ref.Val) *uint64 {
	steps := uint64(1)
	switch function {
	case operators.Equals, operators.NotEquals:
		steps += comparison(args[0], args[1])
	case operators.In:
		if list, ok := args[1].(traits.Lister); ok {
			steps += size(list)
		}
	case "size", "int", "uint", "double", "bool", "timestamp", "duration":
		steps += length(args)
	default:
		switch {
		case strings.HasPrefix(function, "get") && len(args) == 2:
			steps += timeZoneCost
		case overload == "":
			steps += length(args)
		default:
			return nil
		}
	}
	return &steps
}

// comparison returns the steps that it can take to see whether two values are
// equal. Lists and maps of different sizes are not looked into.
func comparison(a, b ref.Val) uint64 {
	left, ok := a.(traits.Sizer)
	right, too := b.(traits.Sizer)
	if !ok || !too || a.Type() != b.Type() {
		return 0
	}
	switch a.(type) {
	case traits.Lister, traits.Mapper:
		if left.Size() != right.Size() {
			return 0
		}
		return size(a)
	}
	return min(length([]ref.Val{a}), length([]ref.Val{b}))
}

// charactersPerStep is how much of a string one step gets through.
const charactersPerStep = 10

// length returns the steps for reading the strings and bytes among values, but
// not those within lists and maps.
func length(values []ref.Val) uint64 {
	var n int
	for _, v := range values {
		switch v := v.(type) {
		case types.String:
			n += len(v)
		case types.Bytes:
			n += len(v)
		}
	}
	return uint64(n) / charactersPerStep
}

// size returns the steps for looking at all that is in a value.
func size(value any) uint64 {
	steps := uint64(1)
	switch v := value.(type) {
	case string:
		steps += uint64(len(v)) / charactersPerStep
	case []any:
		for _, element := range v {
			steps += size(element)
		}
	case []ref.Val:
		for _, element := range v {
			steps += size(element)
		}
	case map[string]any:
		for key, element := range v {
			steps += size(key) + size(element)
		}
	case map[ref.Val]ref.Val:
		for key, element := range v {
			steps += size(key) + size(element)
		}
	case ref.Val:
		switch inner := v.Value().(type) {
		case string, []any, []ref.Val, map[string]any, map[ref.Val]ref.Val:
			return size(inner)
		}
		if sized, ok := v.(traits.Sizer); ok {
			n, _ := sized.Size().(types.Int)
			steps += uint64(n)
		}
	}
	return steps
}
