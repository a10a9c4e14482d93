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

// Error implements error. It quotes the filter, never the event.
func (e *evaluationError) Error() string {
	if cancelled, ok := errors.AsType[interpreter.EvalCancelledError](e.cause); ok && cancelled.Cause == interpreter.CostLimitExceeded {
		return fmt.Sprintf("it takes more than %d steps for this event; loop over less", costLimit)
	}
	where := e.where()
	if where == "" {
		where = oneLine(e.filter.text)
	}
	text := e.cause.Error()
	if function, ok := strings.CutPrefix(text, "no such overload"); ok {
		function, _, _ = strings.Cut(strings.TrimPrefix(function, ": "), "(")
		return fmt.Sprintf("%s does not take values of these types: %s", displayName(function), where)
	}
	return fmt.Sprintf("%s: %s", text, where)
}

// Unwrap returns the interpreter's error.
func (e *evaluationError) Unwrap() error { return e.cause }

// missing describes what the event lacks, if the outcome is incomplete.
func (e *evaluationError) missing() string {
	if none, ok := errors.AsType[*noDataError](e.cause); ok {
		return fmt.Sprintf("filter needs data, but %v", none)
	}
	if where := e.where(); where != "" {
		return fmt.Sprintf("filter needs %s, which the event does not have", where)
	}
	return fmt.Sprintf("filter needs something that the event does not have (%v)", e.cause)
}

// where returns the part of the filter that has no value, "" if that is not
// known.
func (e *evaluationError) where() string {
	failure, ok := errors.AsType[*types.Err](e.cause)
	if !ok {
		return ""
	}
	part := e.filter.part(failure.NodeID())
	if part == nil {
		return ""
	}
	// has(data.a.b) fails for want of data.a.
	if part.Kind() == ast.SelectKind && part.AsSelect().IsTestOnly() {
		part = part.AsSelect().Operand()
	}
	return e.filter.quote(part)
}

// part finds a node of the filter by its number, nil if there is none.
func (f *filter) part(id int64) ast.Expr {
	found := ast.MatchDescendants(ast.NavigateAST(f.checked.NativeRep()), func(e ast.NavigableExpr) bool { return e.ID() == id })
	if len(found) == 0 {
		return nil
	}
	return found[0]
}

// quote returns a part of the filter as text, "" for a part that only exists
// in the expansion of a macro.
func (f *filter) quote(part ast.Expr) string {
	text, err := cel.ExprToString(part, f.checked.NativeRep().SourceInfo())
	if err != nil {
		return ""
	}
	return oneLine(text)
}

// displayName returns an operator or function as it is written in a filter.
func displayName(function string) string {
	if symbol, ok := operators.FindReverse(function); ok && symbol != "" {
		return "operator " + symbol
	}
	if function == "" || strings.Contains(function, "_") {
		return "an operator or function"
	}
	return function
}

// oneLine replaces each run of white space by one space.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
