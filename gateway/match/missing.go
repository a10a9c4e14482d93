package match

import (
	"errors"
	"fmt"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// missing describes what the event lacks, if the outcome is incomplete.
func (e *evaluationError) missing(vars *variables) string {
	if none, ok := errors.AsType[*UnreadableError](e.cause); ok {
		return fmt.Sprintf("filter needs data, but %v", none)
	}
	part := e.part()
	if part == nil {
		return "filter needs something that the event does not have: " + oneLine(e.filter.text)
	}
	if part.Kind() == ast.SelectKind && part.AsSelect().IsTestOnly() {
		if _, known := vars.valueOf(part.AsSelect().Operand()); !known {
			part = part.AsSelect().Operand() // has(data.a.b) fails for want of data.a
		}
	}
	needed := e.filter.quote(part)
	operand, key, ok := step(part)
	for ok {
		if value, known := vars.valueOf(operand); known {
			if why := e.filter.lacking(operand, key, value); why != "" {
				return fmt.Sprintf("filter needs %s, but %s", needed, why)
			}
			break
		}
		part = operand // something before it is not what it should be
		operand, key, ok = step(part)
	}
	if missing := e.filter.quote(part); ok && missing != needed {
		return fmt.Sprintf("filter needs %s, but the event does not have %s", needed, missing)
	}
	return fmt.Sprintf("filter needs %s, which the event does not have", needed)
}

// lacking says why a value has no such key, if that is for what the value is:
// "data.items is a list". It is empty when the key is just not there.
func (f *filter) lacking(operand ast.Expr, key, value any) string {
	is := f.quote(operand) + " is "
	switch value := value.(type) {
	case map[string]any:
		if _, index := key.(int64); index {
			return is + "an object"
		}
		return ""
	case headerMap:
		return ""
	case []any:
		return f.lackingElement(operand, key, len(value))
	case []string: // tokens
		return f.lackingElement(operand, key, len(value))
	case string:
		return is + "a string"
	case bool:
		return is + "true or false"
	case nil:
		return is + "null"
	}
	return is + "a number"
}

func (f *filter) lackingElement(operand ast.Expr, key any, length int) string {
	list := f.quote(operand)
	if _, index := key.(int64); index {
		if length == 1 {
			return list + " has one element"
		}
		return fmt.Sprintf("%s has %d elements", list, length)
	}
	return list + " is a list"
}

// valueOf finds what a path such as data.items[0].sku stands for.
func (v *variables) valueOf(path ast.Expr) (value any, known bool) {
	if path.Kind() == ast.IdentKind {
		return v.ResolveName(path.AsIdent())
	}
	operand, key, ok := step(path)
	if !ok {
		return nil, false
	}
	if value, known = v.valueOf(operand); !known {
		return nil, false
	}
	switch key := key.(type) {
	case string:
		object, _ := value.(map[string]any)
		value, known = object[key]
		return value, known
	case int64:
		list, _ := value.([]any)
		if key < 0 || key >= int64(len(list)) {
			return nil, false
		}
		return list[key], true
	}
	return nil, false
}

// step takes the last step of a path off: a field, or an index. The key is a
// string, an int64, or nil if it only shows when the filter runs.
func step(path ast.Expr) (operand ast.Expr, key any, ok bool) {
	switch path.Kind() {
	case ast.SelectKind:
		return path.AsSelect().Operand(), path.AsSelect().FieldName(), true
	case ast.CallKind:
		call := path.AsCall()
		switch call.FunctionName() {
		case operators.Index, operators.OptIndex, operators.OptSelect:
		default:
			return nil, nil, false
		}
		if index := call.Args()[1]; index.Kind() == ast.LiteralKind {
			switch literal := index.AsLiteral().(type) {
			case types.String:
				key = string(literal)
			case types.Int:
				key = int64(literal)
			}
		}
		return call.Args()[0], key, true
	}
	return nil, nil, false
}
