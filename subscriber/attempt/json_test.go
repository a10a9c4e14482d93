package attempt

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

var jsonTexts = []string{
	``, ` `, `null`, `true`, `false`, `nul`, `truex`, `tru`, `0`, `-0`, `01`, `-`, `1.`, `1.5`, `.5`, `1e5`, `1E+5`, `1e-`, `+1`, `1 2`,
	`"a"`, `"a`, `"`, `"\"`, `"\\"`, `"\u00e9"`, `"\u00E9"`, `"\u00g0"`, `"\u00"`, `"\x"`, "\"\x00\"", "\"\x1f\"", "\"\x20\x7f\xff\"", "\"a\nb\"",
	`"12345678"`, `"1234567"`, `"123456789"`, `"1234567\n9"`, "\"1234567\n9\"", `"12345678901234\"`, `"1234\"5678"`, "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\"",
	`{}`, `{ }`, `{"a":1}`, ` { "a" : 1 , "b" : [ ] } `, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{a:1}`, `{1:1}`, `{"a":1]`, `{`, `{"a`, `{"a":1`,
	`[]`, `[ ]`, `[1]`, `[1,]`, `[,1]`, `[1 2]`, `[1}`, `[[]]`, `[[],{}]`, `[{"a":[{}]}]`, `[`, `[1`, `]`, `}`, `[]]`, `[] x`, "[]\x00", "\x00",
	"[]\r\n\t ", "\f[]", "\ufeff{}",
	strings.Repeat("[", maxJSONDepth) + strings.Repeat("]", maxJSONDepth),
	strings.Repeat("[", maxJSONDepth+1) + strings.Repeat("]", maxJSONDepth+1),
	strings.Repeat(`{"a":`, maxJSONDepth) + "1" + strings.Repeat("}", maxJSONDepth),
	strings.Repeat(`{"a":`, maxJSONDepth+1) + "1" + strings.Repeat("}", maxJSONDepth+1),
	strings.Repeat("[", 63) + `{"a":[{"b":1},2]}` + strings.Repeat("]", 63),
	strings.Repeat("[", 64) + `{"a":[{"b":1},2]]` + strings.Repeat("]", 64),
}

func TestIsJSON(t *testing.T) {
	t.Parallel()
	for _, text := range jsonTexts {
		if got, want := isJSON([]byte(text)), json.Valid([]byte(text)); got != want {
			t.Errorf("%.60q: %v, want %v", text, got, want)
		}
	}
	// Every byte in every place of a string that is read in words.
	for c := range 256 {
		for i := range 20 {
			text := []byte(`["` + strings.Repeat("x", 20) + `"]`)
			text[2+i] = byte(c)
			if got, want := isJSON(text), json.Valid(text); got != want {
				t.Errorf("%q: %v, want %v", text, got, want)
			}
		}
	}
}

func FuzzIsJSON(f *testing.F) {
	for _, text := range jsonTexts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := isJSON(text), json.Valid(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	})
}

// BenchmarkIsJSON measures isJSON beside what it stands for, at sizes of bodies.
func BenchmarkIsJSON(b *testing.B) {
	const order = `{"id":1234,"type":"order.created","ok":true,"price":12.5,"name":"A thing with a name","tags":["a","b"],"at":"2026-01-02T03:04:05Z"}`
	for _, size := range []int{200, 1 << 10, 16 << 10, 64 << 10} {
		texts := map[string][]byte{
			"string":  []byte(`{"type":"order.created","pad":"` + strings.Repeat("x", size-33) + `"}`),
			"objects": []byte(`[` + order + strings.Repeat(`,`+order, max(size/len(order)-1, 0)) + `]`),
		}
		for _, kind := range []string{"string", "objects"} {
			text := texts[kind]
			for name, valid := range map[string]func([]byte) bool{"ours": isJSON, "encoding": json.Valid} {
				b.Run(fmt.Sprintf("%s/%d/%s", kind, size, name), func(b *testing.B) {
					b.SetBytes(int64(len(text)))
					b.ReportAllocs()
					for b.Loop() {
						if !valid(text) {
							b.Fatal("it is no JSON")
						}
					}
				})
			}
		}
	}
}
