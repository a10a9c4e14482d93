package match

import (
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// headerMap is what filters see as `headers`: a map from names to first values.
// A name is looked up in any spelling, see [wire.Header]; what asks for the whole
// map (size, loops, comparisons) sees the names as they were sent.
type headerMap struct{ vars *variables }

// Find implements [traits.Mapper].
func (m headerMap) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return m.all().Find(key)
	}
	values := m.vars.header(string(name))
	if len(values) == 0 {
		return nil, false
	}
	return types.String(values[0]), true
}

// Get implements [traits.Indexer].
func (m headerMap) Get(key ref.Val) ref.Val {
	if value, ok := m.Find(key); ok {
		return value
	}
	return m.all().Get(key) // the error
}

// Contains implements [traits.Container].
func (m headerMap) Contains(key ref.Val) ref.Val {
	value, ok := m.Find(key)
	if !ok && value != nil {
		return value // the error
	}
	return types.Bool(ok)
}

// all is the map of all spellings.
func (m headerMap) all() traits.Mapper {
	return types.NewStringStringMap(types.DefaultTypeAdapter, m.vars.allHeaders())
}

// Iterator implements [traits.Iterable].
func (m headerMap) Iterator() traits.Iterator { return m.all().Iterator() }

// Size implements [traits.Sizer].
func (m headerMap) Size() ref.Val { return m.all().Size() }

// ConvertToNative implements [ref.Val].
func (m headerMap) ConvertToNative(t reflect.Type) (any, error) { return m.all().ConvertToNative(t) }

// ConvertToType implements [ref.Val].
func (m headerMap) ConvertToType(t ref.Type) ref.Val { return m.all().ConvertToType(t) }

// Equal implements [ref.Val].
func (m headerMap) Equal(other ref.Val) ref.Val { return m.all().Equal(other) }

// Type implements [ref.Val].
func (m headerMap) Type() ref.Type { return types.MapType }

// Value implements [ref.Val].
func (m headerMap) Value() any { return m.vars.allHeaders() }
