package match

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// compile parses and type-checks a filter.
func (l *language) compile(expr string) (*cel.Ast, error) {
	l.compiling.Lock()
	checked, issues := l.env.Compile(expr)
	l.compiling.Unlock()
	if issues.Err() != nil {
		return nil, firstError(expr, issues.Errors())
	}
	// A dynamic result is only known when an event is there: `data.urgent`.
	if out := checked.OutputType(); !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return nil, &FilterError{Line: 1, Column: 1, Message: fmt.Sprintf("a filter must yield a bool, this one yields %s", cel.FormatCELType(out))}
	}
	if err := checkCalls(checked.NativeRep()); err != nil {
		return nil, err
	}
	return checked, nil
}

// checkCalls refuses what could take an event's producer far too much work or
// memory. Of most functions the cost is limited, but it is counted after the
// call: too late where it grows with the product of two sizes.
func checkCalls(checked *ast.AST) error {
	calls := ast.MatchDescendants(ast.NavigateAST(checked), ast.KindMatcher(ast.CallKind))
	for _, call := range calls {
		at, message := call.ID(), ""
		switch function := call.AsCall().FunctionName(); function {
		case "format", "strings.quote", "replace", "join", "indexOf", "lastIndexOf":
			message = fmt.Sprintf("function %s is not available in filters", function)
		case overloads.Matches:
			args := call.AsCall().Args()
			pattern := args[len(args)-1]
			at, message = pattern.ID(), wrongPattern(pattern)
		default:
			if zone, ok := timeZoneOf(call); ok {
				at, message = zone.ID(), wrongTimeZone(zone)
			}
		}
		if message != "" {
			location := checked.SourceInfo().GetStartLocation(at)
			return &FilterError{Line: location.Line(), Column: location.Column() + 1, Message: message}
		}
	}
	return nil
}

// wrongPattern says what is wrong with a regular expression, "" if nothing is.
// One that comes from the event could be costly to compile.
func wrongPattern(pattern ast.Expr) string {
	if pattern.Kind() != ast.LiteralKind {
		return "the pattern of matches must be a literal string"
	}
	text, _ := pattern.AsLiteral().Value().(string)
	if _, err := types.CompileRegexWithLimit(text, maxRegexpSize); err != nil {
		return oneLine("wrong pattern: " + strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return ""
}

// filter is a filter that is ready to run. It is safe for concurrent use.
type filter struct {
	text     string
	language *language
	checked  *cel.Ast
	program  cel.Program
	costly   *FilterError // see [estimates]
	// partial is the program for events of which not everything is known, see
	// [Filters.Constant]. It is made when it is first asked for.
	partial func() (cel.Program, error)
}

// filter makes a filter from an expression. Its error is a [*FilterError].
func (l *language) filter(expr string) (*filter, error) {
	checked, err := l.compile(expr)
	if err != nil {
		return nil, err
	}
	cost, err := l.estimate(checked)
	if err != nil {
		return nil, err
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(exactly)}
	if cost.counted {
		options = append(options, limited()...)
	}
	program, err := l.env.Program(checked, options...)
	if err != nil {
		return nil, &FilterError{Line: 1, Column: 1, Message: oneLine(err.Error())}
	}
	partial := sync.OnceValues(func() (cel.Program, error) { return l.env.Program(checked, cel.EvalOptions(cel.OptPartialEval)) })
	return &filter{text: expr, language: l, checked: checked, program: program, costly: cost.costly, partial: partial}, nil
}

// outcome is what a filter makes of an event.
type outcome int

const (
	passed     outcome = iota // the filter is true
	rejected                  // it is false
	incomplete                // it has no value, as the event lacks something that it needs
	failed                    // it has no value for another reason, which somebody should hear about
)

// run evaluates the filter. With the outcomes incomplete and failed comes an
// error that says why.
func (f *filter) run(vars *variables) (outcome, *evaluationError) {
	value, _, err := f.program.Eval(vars)
	switch {
	case err != nil && f.language.isMissing(err):
		return incomplete, &evaluationError{filter: f, cause: err}
	case err != nil:
		return failed, &evaluationError{filter: f, cause: err}
	case value == types.True:
		return passed, nil
	case value == types.False:
		return rejected, nil
	}
	return failed, &evaluationError{filter: f, cause: fmt.Errorf("it yields a value of type %s, not a bool", value.Type().TypeName())}
}

// The errors for something missing that have no type of their own.
const (
	noneDereferenced = "optional.none() dereference"
	fieldOfList      = "unsupported index type 'string' in list"
)

// isMissing reports whether an evaluation ended because the event lacks
// something.
func (l *language) isMissing(err error) bool {
	if _, ok := errors.AsType[*UnreadableError](err); ok {
		return true
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if reflect.TypeOf(err) == l.missing {
			return true
		}
		if text := err.Error(); text == noneDereferenced || text == fieldOfList {
			return true
		}
	}
	return false
}
