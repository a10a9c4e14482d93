package match

import (
	"math"
	"math/big"
	"strconv"
	"testing"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"pgregory.net/rapid"
)

// Numbers are compared by their values, however large they are, whether they come
// from the event or from the filter.
func TestNumbersAreComparedExactly(t *testing.T) {
	t.Parallel()
	const data = `{
		"id": 9007199254740993, "near": 9007199254740992.0, "same": 9007199254740993,
		"most": 9223372036854775807, "beyond": 9223372036854775808.0,
		"huge": 18446744073709551615, "over": 18446744073709551616.0, "low": -9007199254740993,
		"ids": [1, 9007199254740993], "nears": [1, 9007199254740992.0], "nested": {"a": [{"b": 9007199254740993}]},
		"nestedNear": {"a": [{"b": 9007199254740992.0}]}, "small": 3, "smallFloat": 3.0, "half": 3.5, "word": "x", "nan": "NaN"
	}`
	for filter, want := range map[string]bool{
		"data.id == 9007199254740992.0":                           false,
		"data.id != 9007199254740992.0":                           true,
		"data.id > 9007199254740992.0":                            true,
		"data.id >= 9007199254740992.0":                           true,
		"data.id < 9007199254740992.0":                            false,
		"data.id <= 9007199254740992.0":                           false,
		"9007199254740992.0 == data.id":                           false,
		"9007199254740992.0 < data.id":                            true,
		"data.id == data.near":                                    false,
		"data.near < data.id":                                     true,
		"data.id == data.same":                                    true,
		"data.near == 9007199254740993":                           false,
		"data.near == 9007199254740992":                           true,
		"data.near <= 9007199254740991":                           false,
		"data.most == data.beyond":                                false,
		"data.most < data.beyond":                                 true,
		"data.beyond == 9223372036854775807":                      false,
		"data.beyond == 9223372036854775808u":                     true,
		"data.huge == data.over":                                  false,
		"data.huge < data.over":                                   true,
		"data.over > 18446744073709551615u":                       true,
		"data.low < -9007199254740992.0":                          true,
		"data.low == -9007199254740992.0":                         false,
		"data.id in data.nears":                                   false,
		"data.near in data.ids":                                   false,
		"data.id in data.ids":                                     true,
		"data.id in [1.5, 9007199254740992.0]":                    false,
		"data.near in [9007199254740993, 7]":                      false,
		"data.near in [9007199254740992, 7]":                      true,
		"data.id in [9007199254740993]":                           true,
		"data.ids == data.nears":                                  false,
		"data.ids != data.nears":                                  true,
		"data.ids == [1.0, 9007199254740993]":                     true,
		"data.ids == [1.0, 9007199254740992.0]":                   false,
		"data.nested == data.nestedNear":                          false,
		"data.nested == {'a': [{'b': 9007199254740993}]}":         true,
		"data.ids.exists(i, i == 9007199254740992.0)":             false,
		"data.?id == optional.of(data.near)":                      false,
		"data.?id == optional.of(data.same)":                      true,
		"data.?nothing == optional.none()":                        true,
		"data.small == data.smallFloat":                           true,
		"data.small < data.half && data.half > data.small":        true,
		"data.half <= data.small":                                 false,
		"[data.small, data.half] == [data.smallFloat, data.half]": true,
		"data.id < double(data.nan) || data.id >= double(data.nan) || double(data.nan) == data.id": false,
		"data.small == data.word":                                      false,
		"data.word in data.ids":                                        false,
		"data.small in data":                                           false,
		"'small' in data && !('large' in data)":                        true,
		"data.most == 9223372036854775807.0":                           false,
		"[[data.id]] == [[9007199254740992.0]]":                        false,
		"data.id == (data.small > 1 ? 9007199254740992.0 : data.id)":   false,
		"{'a': data.id} == {'a': 9007199254740992.0}":                  false,
		"{'a': data.id} == {'b': 9007199254740993}":                    false,
		"[data.id].exists(x, x in [9007199254740992.0, data.word])":    false,
		"data.ids.filter(x, x > 9007199254740992.0) == [data.same]":    true,
		"size(data.ids.filter(x, x == 9007199254740992.0)) == 0":       true,
		"timestamp('2026-01-01T00:00:00Z') < time || data.word == 'x'": true,
	} {
		ev := &Event{Subject: "a", Data: []byte(data)}
		if got, err := run(t, filter, ev); err != nil || (got == passed) != want {
			t.Errorf("%s: %v %v, want %v", filter, got, err, want)
		}
		const loops = " && data.ids.all(a, data.ids.all(b, data.ids.all(c, data.ids.all(d, a > 0))))"
		f := compileFilter(t, "("+filter+")"+loops)
		if f.costly == nil {
			t.Fatal("the steps of this filter are not counted")
		}
		if got, err := f.run(&variables{event: ev}); err != nil || (got == passed) != want {
			t.Errorf("%s, with its steps counted: %v %v, want %v", filter, got, err, want)
		}
		m := newMatcher(t, Subscription{Name: "s", Subjects: []string{"a"}, Filter: filter, Endpoints: []string{"e"}})
		if got := m.Explain(ev)[0]; got.Matched != want {
			t.Errorf("%s: %+v, want %v", filter, got, want)
		}
	}
}

// The order of numbers of different types is that of their values.
func TestOrderOfNumbers(t *testing.T) {
	t.Parallel()
	edges := []float64{
		0, math.Copysign(0, -1), 0.5, -0.5, 1 << 53, 1<<53 + 2, -1 << 53, 1 << 63, -1 << 63, 1 << 64, math.Nextafter(1<<63, 0),
		math.Nextafter(1<<64, 0), math.Nextafter(-1<<63, 0), math.MaxFloat64, math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64,
	}
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.OneOf(rapid.SampledFrom(edges), rapid.Float64()).Draw(t, "float")
		var whole *big.Float
		var integer ref.Val
		if rapid.Bool().Draw(t, "unsigned") {
			u := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(1<<53-2, 1<<53+2), rapid.Uint64Range(1<<63-2, 1<<63+2), rapid.Uint64Range(math.MaxUint64-2, math.MaxUint64)).Draw(t, "uint")
			whole, integer = new(big.Float).SetUint64(u), types.Uint(u)
		} else {
			i := rapid.OneOf(rapid.Int64(), rapid.Int64Range(1<<53-2, 1<<53+2), rapid.Int64Range(math.MaxInt64-2, math.MaxInt64), rapid.Int64Range(math.MinInt64, math.MinInt64+2)).Draw(t, "int")
			whole, integer = new(big.Float).SetInt64(i), types.Int(i)
		}
		if rapid.Bool().Draw(t, "close") {
			f, _ = whole.Float64()
		}
		want := types.Int(big.NewFloat(f).Cmp(whole))
		if got, ok := orderOf(types.Double(f), integer); !ok || got != want {
			t.Fatalf("%v against %v: %d, want %d", strconv.FormatFloat(f, 'g', -1, 64), integer, got, want)
		}
		if got, ok := orderOf(integer, types.Double(f)); !ok || got != -want {
			t.Fatalf("%v against %v: %d, want %d", integer, f, got, -want)
		}
		if got := equals(integer, types.Double(f)); got != types.Bool(want == 0) {
			t.Fatalf("%v == %v: %v", integer, f, got)
		}
	})
}

// What is no number is compared, and fails, as it did.
func TestComparisonsThatFail(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]string{
		"data.a < data.b":  "operator < does not take values of these types: data.a < data.b",
		"data.a >= data.l": "operator >= does not take values of these types: data.a >= data.l",
		"data.l < data.l":  "operator < does not take values of these types: data.l < data.l",
		"data.a in data.b": "operator in does not take values of these types: data.a in data.b",
	} {
		ev := &Event{Subject: "a", Data: []byte(`{"a": 1, "b": "x", "l": [1], "big": 9007199254740993}`)}
		if out, err := run(t, filter, ev); out != failed || err.Error() != want {
			t.Errorf("%s: %v %q, want %q", filter, out, err, want)
		}
	}
}
