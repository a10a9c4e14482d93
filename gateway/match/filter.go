package match

import (
	"fmt"

	"cel.dev/cel-go/cel"
)

// CheckFilter reports the first error of a filter as a [*FilterError], nil if
// there is none. The empty filter is one that every event passes.
func CheckFilter(expr string) error {
	if expr == "" {
		return nil
	}
	_, err := compile(expr)
	return err
}

// compile parses and type-checks a filter.
func compile(expr string) (*cel.Ast, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("build the environment of filters: %w", err)
	}
	ast, issues := env.Compile(expr)
	if issues.Err() != nil {
		return nil, firstError(expr, issues.Errors())
	}
	// A dynamic result is only known when an event is there: `data.urgent`.
	if out := ast.OutputType(); !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return nil, &FilterError{Line: 1, Column: 1, Message: fmt.Sprintf("a filter must yield a bool, this one yields %s", cel.FormatCELType(out))}
	}
	return ast, nil
}
