package match

import (
	"math"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// cel-go (0.33.2) compares an integer with a floating-point number as two
// floating-point numbers. Beyond 2^53 that takes different numbers for equal:
// identities of that size are common. So the comparisons that could meet such
// numbers are planned as [exactComparison]; all others stay as they are.

// exactly replaces the comparisons of a filter that may have to do with an integer
// beyond 2^53 and a floating-point number. It is an
// [interpreter.InterpretableDecoratorV2].
func exactly(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok {
		return i, nil
	}
	var compare func(a, b ref.Val) ref.Val
	switch call.Function() {
	case operators.Equals:
		compare = equals
	case operators.NotEquals:
		compare = func(a, b ref.Val) ref.Val { return not(equals(a, b)) }
	case operators.Less:
		compare = ordered(func(order types.Int) bool { return order < 0 })
	case operators.LessEquals:
		compare = ordered(func(order types.Int) bool { return order <= 0 })
	case operators.Greater:
		compare = ordered(func(order types.Int) bool { return order > 0 })
	case operators.GreaterEquals:
		compare = ordered(func(order types.Int) bool { return order >= 0 })
	case operators.In:
		compare = contained
	default:
		return i, nil
	}
	args := call.Args()
	if len(args) != 2 || compares(args[0]) || compares(args[1]) {
		return i, nil
	}
	return &exactComparison{InterpretableCall: call, left: args[0], right: args[1], compare: compare}, nil
}

// exactFloat is how far floating-point numbers tell all integers apart.
const exactFloat = 1 << 53

// compares reports whether whatever is compared with this operand is compared as
// it should be: it is a literal, and no large number.
func compares(operand interpreter.InterpretableV2) bool {
	literal, ok := operand.(interpreter.InterpretableConst)
	return ok && small(literal.Value())
}

// small reports whether a value is no large number, and none is in it.
func small(value ref.Val) bool {
	switch v := value.(type) {
	case types.Int:
		return -exactFloat < v && v < exactFloat
	case types.Uint:
		return v < exactFloat
	case types.Double:
		return -exactFloat < v && v < exactFloat
	case types.String, types.Bool, types.Bytes, types.Null, types.Timestamp, types.Duration:
		return true
	case traits.Lister:
		for elements := v.Iterator(); elements.HasNext() == types.True; {
			if !small(elements.Next()) {
				return false
			}
		}
		return true
	}
	return false
}

// exactComparison is a comparison in which numbers are compared by their values,
// whatever their types.
type exactComparison struct {
	interpreter.InterpretableCall
	left, right interpreter.InterpretableV2
	compare     func(a, b ref.Val) ref.Val // its result is nil for values that it does not take
}

// OverloadID implements [interpreter.InterpretableCall]. It hides that a call of
// `in` has a list of literals, which would be made a set, by inexact comparison.
func (c *exactComparison) OverloadID() string {
	if id := c.InterpretableCall.OverloadID(); id != overloads.InList {
		return id
	}
	return ""
}

// Exec implements [interpreter.InterpretableV2].
func (c *exactComparison) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	left := c.left.Exec(frame)
	if types.IsUnknownOrError(left) {
		return left
	}
	right := c.right.Exec(frame)
	if types.IsUnknownOrError(right) {
		return right
	}
	result := c.compare(left, right)
	if result == nil {
		result = types.NewErrWithNodeID(c.ID(), "%s: %s", noSuchOverload, c.Function())
	}
	result = types.LabelErrNode(c.ID(), result)
	if costs := frame.CostTracker(); costs != nil {
		costs.EvalBinary(frame, c.ID(), c, left, right, result)
	}
	return result
}

// Eval implements [interpreter.Interpretable].
func (c *exactComparison) Eval(vars interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(vars, c.Exec)
}

// ordered makes an operator of an order.
func ordered(holds func(types.Int) bool) func(a, b ref.Val) ref.Val {
	return func(a, b ref.Val) ref.Val {
		if isNaN(a) || isNaN(b) {
			return types.False
		}
		if order, ok := orderOf(a, b); ok {
			return types.Bool(holds(order))
		}
		comparer, ok := a.(traits.Comparer)
		if !ok {
			return nil
		}
		order := comparer.Compare(b)
		if i, ok := order.(types.Int); ok {
			return types.Bool(holds(i))
		}
		return order
	}
}

func isNaN(v ref.Val) bool {
	d, ok := v.(types.Double)
	return ok && math.IsNaN(float64(d))
}

// orderOf compares an integer with a floating-point number. It has no word on other
// values.
func orderOf(a, b ref.Val) (types.Int, bool) {
	switch a := a.(type) {
	case types.Double:
		switch b := b.(type) {
		case types.Int:
			return orderOfInt(float64(a), int64(b))
		case types.Uint:
			return orderOfUint(float64(a), uint64(b))
		}
	case types.Int:
		if b, ok := b.(types.Double); ok {
			order, ok := orderOfInt(float64(b), int64(a))
			return -order, ok
		}
	case types.Uint:
		if b, ok := b.(types.Double); ok {
			order, ok := orderOfUint(float64(b), uint64(a))
			return -order, ok
		}
	}
	return 0, false
}

func orderOfInt(f float64, i int64) (types.Int, bool) {
	switch {
	case math.IsNaN(f):
		return 0, false
	case f >= 1<<63:
		return 1, true
	case f < -1<<63:
		return -1, true
	}
	whole, fraction := math.Modf(f)
	return orderOfParts(int64(whole), i, fraction), true
}

func orderOfUint(f float64, u uint64) (types.Int, bool) {
	switch {
	case math.IsNaN(f):
		return 0, false
	case f >= 1<<64:
		return 1, true
	case f < 0:
		return -1, true
	}
	whole, fraction := math.Modf(f)
	return orderOfParts(uint64(whole), u, fraction), true
}

// orderOfParts compares a number, of which the whole and the fraction are given,
// with an integer. The fraction has the sign of the number.
func orderOfParts[I int64 | uint64](whole, other I, fraction float64) types.Int {
	switch {
	case whole < other:
		return -1
	case whole > other:
		return 1
	case fraction < 0:
		return -1
	case fraction > 0:
		return 1
	}
	return 0
}

// equals reports whether two values are equal, as CEL defines it. Lists and maps are
// as many levels deep as JSON may be nested, or as a filter is written.
func equals(a, b ref.Val) ref.Val {
	switch x := a.(type) {
	case types.Double, types.Int, types.Uint:
		if order, ok := orderOf(a, b); ok {
			return types.Bool(order == 0)
		}
	case traits.Lister:
		if y, ok := b.(traits.Lister); ok {
			return equalLists(x, y)
		}
	case traits.Mapper:
		if y, ok := b.(traits.Mapper); ok {
			return equalMaps(x, y)
		}
	case *types.Optional:
		if y, ok := b.(*types.Optional); ok && x.HasValue() && y.HasValue() {
			return equals(x.GetValue(), y.GetValue())
		}
	}
	return types.Equal(a, b)
}

func equalLists(a, b traits.Lister) ref.Val {
	size := a.Size()
	if size != b.Size() {
		return types.False
	}
	for i := types.Int(0); i < size.(types.Int); i++ {
		if result := equals(a.Get(i), b.Get(i)); result != types.True {
			return result
		}
	}
	return types.True
}

func equalMaps(a, b traits.Mapper) ref.Val {
	if a.Size() != b.Size() {
		return types.False
	}
	for keys := a.Iterator(); keys.HasNext() == types.True; {
		key := keys.Next()
		mine, _ := a.Find(key)
		other, ok := b.Find(key)
		if !ok {
			return types.False
		}
		if result := equals(mine, other); result != types.True {
			return result
		}
	}
	return types.True
}

// contained reports whether a value is in a list, or a key of a map.
func contained(value, container ref.Val) ref.Val {
	list, ok := container.(traits.Lister)
	if !ok {
		if container, ok := container.(traits.Container); ok {
			return container.Contains(value)
		}
		return nil
	}
	for elements := list.Iterator(); elements.HasNext() == types.True; {
		if result := equals(value, elements.Next()); result == types.True {
			return types.True
		}
	}
	return types.False
}

func not(v ref.Val) ref.Val {
	if b, ok := v.(types.Bool); ok {
		return !b
	}
	return v
}
