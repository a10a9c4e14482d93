package match

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"
)

// evaluationError says why a filter has no value for an event. The text is
// only made when somebody reads it: most are counted and forgotten.
type evaluationError struct {
	filter *filter
	cause  error
}

// Error implements error. It quotes the filter, but never a value of the
// event, so that it can be logged.
func (e *evaluationError) Error() string {
	if IsTooCostly(e) {
		return fmt.Sprintf("it takes more than %d steps for this event; loop over less", costLimit)
	}
	where, text := oneLine(e.filter.text), withoutValues(e.cause.Error())
	part := e.part()
	if part != nil {
		where = e.filter.quote(part)
	}
	if text == noSuchOverload {
		function := "an operator or function"
		if part != nil && part.Kind() == ast.CallKind {
			function = displayName(part.AsCall().FunctionName())
		}
		text = function + " does not take values of these types"
	}
	return fmt.Sprintf("%s: %s", text, where)
}

// IsTooCostly reports whether a filter failed because it took more steps for an
// event than it may.
func IsTooCostly(err error) bool {
	cancelled, ok := errors.AsType[interpreter.EvalCancelledError](err)
	return ok && cancelled.Cause == interpreter.CostLimitExceeded
}

// Unwrap returns the interpreter's error.
func (e *evaluationError) Unwrap() error { return e.cause }

// noSuchOverload is what the interpreter says when the types of values do not
// fit.
const noSuchOverload = "no such overload"

// withoutValues returns what an error of the interpreter says, without the
// values that it says it of.
func withoutValues(text string) string {
	for _, harmless := range []string{"it yields a value", "type conversion error from '", "unsupported index type '", "got '"} {
		if strings.HasPrefix(text, harmless) {
			return text // names nothing but types
		}
	}
	for _, kind := range []string{
		noSuchOverload, "division by zero", "modulus by zero", "integer overflow", "unsigned integer overflow",
		"timestamp overflow", "duration overflow", "NaN values cannot be ordered", "invalid RFC 3339 timestamp",
		"unknown time zone", "timezone offset hours out of range", "timezone offset minutes out of range",
		"unsupported index value", "index out of range", "invalid substring range", "invalid UTF-8 in bytes", "internal error",
	} {
		if strings.HasPrefix(text, kind) {
			return kind
		}
	}
	return "it has no value"
}

// part returns the part of the filter that has no value, nil if that is not
// known.
func (e *evaluationError) part() ast.Expr {
	failure, ok := errors.AsType[*types.Err](e.cause)
	if !ok {
		return nil
	}
	return e.filter.part(failure.NodeID())
}

// part finds a node of the filter by its number, nil if there is none.
func (f *filter) part(id int64) ast.Expr {
	found := ast.MatchDescendants(ast.NavigateAST(f.checked.NativeRep()), func(e ast.NavigableExpr) bool { return e.ID() == id })
	if len(found) == 0 {
		return nil
	}
	return found[0]
}

// quote returns a part of the filter as text. For one that only exists in the
// expansion of a macro that is the whole filter.
func (f *filter) quote(part ast.Expr) string {
	text, err := cel.ExprToString(part, f.checked.NativeRep().SourceInfo())
	if err != nil {
		text = f.text
	}
	return oneLine(text)
}

// displayName returns an operator or function as it is written in a filter.
func displayName(function string) string {
	if symbol, ok := operators.FindReverse(function); ok && symbol != "" {
		return "operator " + symbol
	}
	return function
}

// oneLine replaces each run of white space by one space.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
