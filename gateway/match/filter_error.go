package match

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
)

// FilterError says what is wrong in a filter, and where.
type FilterError struct {
	Line    int    // from 1, within the expression
	Column  int    // from 1, in characters, within the line
	Message string // one line
}

// Error implements error.
func (e *FilterError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// firstError returns the first of the compiler's errors in reading order. The
// ones after it are mostly its consequences.
func firstError(expr string, issues []*cel.Error) *FilterError {
	first := slices.MinFunc(issues, func(a, b *cel.Error) int {
		return cmp.Or(cmp.Compare(a.Location.Line(), b.Location.Line()), cmp.Compare(a.Location.Column(), b.Location.Column()))
	})
	// The compiler counts columns from 0. An error of the whole expression has
	// no position at all.
	line, column := max(first.Location.Line(), 1), max(first.Location.Column()+1, 1)
	return &FilterError{Line: line, Column: column, Message: readable(first.Message, charAt(expr, line, column))}
}

// charAt returns the character at a position, 0 if there is none.
func charAt(expr string, line, column int) rune {
	for range line - 1 {
		_, expr, _ = strings.Cut(expr, "\n")
	}
	expr, _, _ = strings.Cut(expr, "\n")
	for _, r := range expr {
		if column--; column == 0 {
			return r
		}
	}
	return 0
}

// The shapes of the compiler's messages that need translation, because they
// speak of the grammar instead of the filter.
var (
	unexpectedInput = regexp.MustCompile(`^Syntax error: (?:mismatched input|extraneous input|no viable alternative at input) '(.*?)'(?: expecting .*)?$`)
	missingInput    = regexp.MustCompile(`^Syntax error: missing (.+) at '(.*)'$`)
	unknownToken    = regexp.MustCompile(`^Syntax error: token recognition error at: '(.*)'$`)
	noOverload      = regexp.MustCompile(`^found no matching overload for '(.+)' applied to '(.*)'$`)
	undeclared      = regexp.MustCompile(`^undeclared reference to '(.+?)'(?: \(did you mean (.+)\?\))?$`)
	noFields        = regexp.MustCompile(`^type '(.+)' does not support field selection$`)
)

// readable translates a message of the compiler; at is the character at its
// position. What it does not know it leaves as it is.
func readable(message string, at rune) string {
	message = strings.Join(strings.Fields(message), " ")
	if m := unexpectedInput.FindStringSubmatch(message); m != nil {
		return unexpected(m[1])
	}
	if m := missingInput.FindStringSubmatch(message); m != nil {
		if m[2] == "<EOF>" {
			return fmt.Sprintf("%s is missing at the end", m[1])
		}
		return fmt.Sprintf("%s is missing before '%s'", m[1], m[2])
	}
	if m := unknownToken.FindStringSubmatch(message); m != nil {
		if strings.HasPrefix(m[1], `"`) || strings.HasPrefix(m[1], "'") {
			return "a string starts here that does not end"
		}
		return unexpected(strings.TrimSpace(m[1]))
	}
	if m := noOverload.FindStringSubmatch(message); m != nil {
		return wrongOperands(m[1], m[2])
	}
	if m := undeclared.FindStringSubmatch(message); m != nil {
		kind := "name"
		if at == '(' {
			kind = "function"
		}
		hint := ""
		if m[2] != "" {
			hint = fmt.Sprintf(" (did you mean %s?)", m[2])
		} else if kind == "name" {
			hint = "; a filter knows data, subject, tokens, headers, id and time"
		}
		return fmt.Sprintf("unknown %s '%s'%s", kind, m[1], hint)
	}
	if m := noFields.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("a value of type %s has no fields", m[1])
	}
	switch message = strings.TrimPrefix(message, "Syntax error: "); message {
	case "invalid timestamp argument":
		return "wrong timestamp; write one like '2026-01-31T12:00:00Z'"
	case "invalid duration argument":
		return "wrong duration; write one like '1h30m'"
	}
	return message
}

// unexpected describes input that the grammar has no place for, with a hint
// for what other languages write there.
func unexpected(input string) string {
	switch strings.ToLower(input) {
	case "<eof>":
		return "the filter ends where a value is expected"
	case "=":
		return "unexpected '=' (equality is ==)"
	case "and", "&":
		return fmt.Sprintf("unexpected '%s' (write && for and)", input)
	case "or", "|":
		return fmt.Sprintf("unexpected '%s' (write || for or)", input)
	case "not":
		return fmt.Sprintf("unexpected '%s' (write ! for not)", input)
	}
	return fmt.Sprintf("unexpected '%s'", input)
}

// wrongOperands describes a call of an operator or function with arguments
// that it does not take.
func wrongOperands(function, operands string) string {
	if function == operators.Conditional {
		return "condition ? a : b takes a bool and two values of one type, not " + operands
	}
	if function == operators.Index {
		return "[…] does not work on " + operands
	}
	if symbol, ok := operators.FindReverse(function); ok && symbol != "" {
		return fmt.Sprintf("operator %s does not take %s", symbol, operands)
	}
	return fmt.Sprintf("%s does not take %s", function, operands)
}
