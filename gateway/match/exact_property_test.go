package match

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// number is one of the three types that filters know, in the ways in which it can
// come to a comparison.
type number struct {
	value   *big.Float
	json    string // as the event has it
	literal string // as the filter has it
}

// edges are where floating-point numbers no longer tell integers apart, or where a
// type ends.
var edges = []float64{0, 1, 1 << 52, 1 << 53, 1 << 54, 1 << 62, 1 << 63, -1 << 53, -1 << 63, 1 << 64, 1e19, 1e300}

// drawNumber returns a number close to an edge.
func drawNumber(t *rapid.T, edge float64) number {
	whole, _ := big.NewFloat(edge).SetPrec(200).Int(nil)
	whole.Add(whole, big.NewInt(rapid.Int64Range(-1, 2).Draw(t, "off")))
	switch kind := rapid.SampledFrom([]string{"int", "uint", "double"}).Draw(t, "kind"); {
	case kind == "int" && whole.IsInt64():
		return number{new(big.Float).SetPrec(200).SetInt(whole), whole.String(), whole.String()}
	case kind == "uint" && whole.IsUint64():
		// JSON has no unsigned numbers: they are what is too large for an integer.
		return number{new(big.Float).SetPrec(200).SetInt(whole), whole.String(), whole.String() + "u"}
	}
	f, _ := new(big.Float).SetPrec(200).SetInt(whole).Float64()
	if rapid.IntRange(0, 3).Draw(t, "beside") == 0 {
		f = math.Nextafter(f, rapid.SampledFrom([]float64{math.Inf(1), math.Inf(-1)}).Draw(t, "side"))
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return number{big.NewFloat(f).SetPrec(200), text, text}
}

// Every way to compare numbers goes by their values.
func TestEveryComparisonIsExact(t *testing.T) {
	t.Parallel()
	operators := map[string]func(order int) bool{
		"==": func(o int) bool { return o == 0 }, "!=": func(o int) bool { return o != 0 },
		"<": func(o int) bool { return o < 0 }, "<=": func(o int) bool { return o <= 0 },
		">": func(o int) bool { return o > 0 }, ">=": func(o int) bool { return o >= 0 },
	}
	names := []string{"==", "!=", "<", "<=", ">", ">="}
	rapid.Check(t, func(t *rapid.T) {
		edge := rapid.SampledFrom(edges).Draw(t, "edge")
		a, b := drawNumber(t, edge), drawNumber(t, edge)
		operator := rapid.SampledFrom(names).Draw(t, "operator")
		order := a.value.Cmp(b.value)
		ev := &Event{Subject: "a", Data: fmt.Appendf(nil, `{"a": %[1]s, "b": %[2]s, "la": [%[1]s], "lb": ["x", %[2]s], "ma": {"k": {"n": [%[1]s]}}, "mb": {"k": {"n": [%[2]s]}}}`, a.json, b.json)}
		left := rapid.SampledFrom([]string{"data.a", "data.la[0]", "data.ma.k.n[0]", "(data.a)", "data[\"a\"]", "data.?a.orValue(0)", a.literal, "dyn(" + a.literal + ")", "[" + a.literal + "][0]"}).Draw(t, "left")
		right := rapid.SampledFrom([]string{"data.b", "data.lb[1]", "data.mb.k.n[0]", "(true ? data.b : 0)", b.literal, "dyn(" + b.literal + ")", "{'k': " + b.literal + "}.k"}).Draw(t, "right")
		same := operators["=="](order)
		for filter, want := range map[string]bool{
			left + operator + right: operators[operator](order),
			fmt.Sprintf("[%s].exists(x, x %s %s)", left, operator, right):        operators[operator](order),
			fmt.Sprintf("[%s].all(x, x %s %s)", left, operator, right):           operators[operator](order),
			fmt.Sprintf("[%s].exists_one(x, x %s %s)", left, operator, right):    operators[operator](order),
			fmt.Sprintf("[%s].filter(x, x %s %s) == []", left, operator, right):  !operators[operator](order),
			fmt.Sprintf("[%s].map(x, x %s %s) == [true]", left, operator, right): operators[operator](order),
			left + " in [" + right + "]":                                         same,
			left + " in data.lb":                                                 same,
			"!(" + left + " in [dyn('x'), " + right + "])":                       !same,
			"[" + left + "] in [[" + right + "]]":                                same,
			"[" + left + "] == [" + right + "]":                                  same,
			"[" + left + "] != [" + right + "]":                                  !same,
			"{'k': [" + left + "]} == {'k': [" + right + "]}":                    same,
			"{'n': [" + left + "]} == data.mb.k":                                 same,
			"data.ma == data.mb":                                                 same,
			"optional.of(" + left + ") == optional.of(" + right + ")":            same,
		} {
			compiled, err := testFilter(filter)
			if err != nil {
				continue // literals of two types do not compile everywhere
			}
			if got, err := compiled.run(&variables{event: ev}); err != nil || (got == passed) != want {
				t.Fatalf("%s with %s: %v %v, want %v", filter, ev.Data, got, err, want)
			}
		}
	})
}

func testFilter(expr string) (*filter, error) {
	language, err := filters()
	if err != nil {
		return nil, err
	}
	return language.filter(expr)
}
