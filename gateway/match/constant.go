package match

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// Constant reports whether a filter that [Filters.Check] accepted has one value for every
// event on any of some subjects, whatever is in the event, and which. It is meant for
// warnings: not every filter that is constant is found.
func (f *Filters) Constant(expr string, subjects []string) (value, is bool) {
	known := f.known(expr)
	if known == nil || len(subjects) == 0 {
		return false, false
	}
	program, err := known.partial()
	if err != nil {
		return false, false
	}
	for i, subject := range subjects {
		vars, err := anyEventOn(subject)
		if err != nil {
			return false, false
		}
		result, _, err := program.Eval(vars)
		if err != nil || result != types.True && result != types.False {
			return false, false
		}
		if i > 0 && value != (result == types.True) {
			return false, false
		}
		value = result == types.True
	}
	return value, true
}

// anyEventOn gives a filter what all events on a subject have in common: the tokens of
// their subject that are no wildcards. All the rest is unknown.
func anyEventOn(subject string) (cel.PartialActivation, error) {
	tokens := strings.Split(subject, ".")
	patterns := []*cel.AttributePatternType{
		cel.AttributePattern(varData), cel.AttributePattern(varHeaders), cel.AttributePattern(varID), cel.AttributePattern(varTime),
	}
	all := true
	for i, token := range tokens {
		if token == "*" || token == ">" {
			all = false
			patterns = append(patterns, cel.AttributePattern(varTokens).QualInt(int64(i)))
		}
	}
	if !all {
		patterns = append(patterns, cel.AttributePattern(varSubject))
	}
	if tokens[len(tokens)-1] == ">" {
		// There may be more, of which nothing is known either.
		for range maxKnownTokens {
			patterns = append(patterns, cel.AttributePattern(varTokens).QualInt(int64(len(tokens))))
			tokens = append(tokens, "")
		}
	}
	return cel.PartialVars(map[string]any{varSubject: subject, varTokens: tokens}, patterns...)
}

// maxKnownTokens is how many tokens may stand for a > at the end. A filter that asks for one
// further away has no value.
const maxKnownTokens = 64
