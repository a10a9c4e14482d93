package match

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestParseJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		`null`:                  nil,
		` true `:                true,
		"\t\r\n false":          false,
		`""`:                    "",
		`"héllo 日本 😀"`:          "héllo 日本 😀",
		`"\"\\\/\b\f\n\r\t"`:    "\"\\/\b\f\n\r\t",
		`"\u0041\u00e9\u65E5"`:  "Aé日",
		`"\ud83d\ude00!"`:       "😀!",
		`"a\ud83d"`:             "a\ufffd",
		`"\ude00\ud83d\u0041"`:  "\ufffd\ufffdA",
		`"\u0000"`:              "\x00",
		"\"\x7f\"":              "\x7f",
		`0`:                     int64(0),
		`-0`:                    int64(0),
		`-12`:                   int64(-12),
		`9223372036854775807`:   int64(math.MaxInt64),
		`-9223372036854775808`:  int64(math.MinInt64),
		`9223372036854775808`:   uint64(math.MaxInt64 + 1),
		`18446744073709551615`:  uint64(math.MaxUint64),
		`18446744073709551616`:  float64(1 << 64),
		`-9223372036854775809`:  -float64(1 << 63),
		`1.0`:                   1.0,
		`1e2`:                   100.0,
		`-1.5E+3`:               -1500.0,
		`25e-1`:                 2.5,
		`1e400`:                 math.Inf(1),
		`-1e400`:                math.Inf(-1),
		`1e-400`:                0.0,
		`[]`:                    []any{},
		`[ 1 , [ ] , "a" ]`:     []any{int64(1), []any{}, "a"},
		`{}`:                    map[string]any{},
		"\ufeff{\"a\":[]}":      map[string]any{"a": []any{}},
		"\ufeff 1":              int64(1),
		"\"\ufeff\"":            "\ufeff",
		` { "a" : { "" : 1 } }`: map[string]any{"a": map[string]any{"": int64(1)}},
		`{"a":1,"A":2}`:         map[string]any{"a": int64(1), "A": int64(2)},
	} {
		got, err := parseJSON([]byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parseJSON(%q) = %#v, %v, want %#v", text, got, err, want)
		}
	}
}

func TestParseJSONRefuses(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	if _, err := parseJSON([]byte(deep(maxDepth))); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	for text, want := range map[string]string{
		"":                              "it is empty",
		" \n":                           "it is empty",
		`nul`:                           "unexpected 'n' (byte 1)",
		`True`:                          "unexpected 'T' (byte 1)",
		`NaN`:                           "unexpected 'N' (byte 1)",
		`é`:                             "unexpected 'é' (byte 1)",
		`{`:                             "it ends too early (byte 2)",
		`{"a"`:                          "it ends too early (byte 5)",
		`{"a":`:                         "it ends too early (byte 6)",
		`{"a":1`:                        "it ends too early (byte 7)",
		`{"a":1,}`:                      "unexpected '}' (byte 8)",
		`{a:1}`:                         "unexpected 'a' (byte 2)",
		`{"a" 1}`:                       "unexpected '1' (byte 6)",
		`{"a":1 "b":2}`:                 "unexpected '\"' (byte 8)",
		`[1,]`:                          "unexpected ']' (byte 4)",
		`[1 2]`:                         "unexpected '2' (byte 4)",
		`[`:                             "it ends too early (byte 2)",
		`[1,`:                           "it ends too early (byte 4)",
		`"a`:                            "it ends too early (byte 3)",
		"\"a\nb\"":                      `unexpected '\n' (byte 3)`,
		`"\x"`:                          "invalid escape (byte 2)",
		`"\`:                            "it ends too early (byte 3)",
		`"\u12"`:                        "invalid escape (byte 2)",
		`"\u12G4"`:                      "invalid escape (byte 2)",
		`01`:                            "something follows the value (byte 2)",
		`1.`:                            "it ends too early (byte 3)",
		`.5`:                            "unexpected '.' (byte 1)",
		`-`:                             "it ends too early (byte 2)",
		`+1`:                            "unexpected '+' (byte 1)",
		`1e`:                            "it ends too early (byte 3)",
		`1e+x`:                          "unexpected 'x' (byte 4)",
		`1 2`:                           "something follows the value (byte 3)",
		"{}\x00":                        "something follows the value (byte 3)",
		"\ufeff":                        "it is empty",
		"\ufeff \n":                     "it is empty",
		"\ufeff\ufeff{}":                `unexpected '\ufeff' (byte 4)`,
		" \ufeff{}":                     `unexpected '\ufeff' (byte 2)`,
		"{}\ufeff":                      "something follows the value (byte 3)",
		"\ufeff{,}":                     `unexpected ',' (byte 5)`,
		`{"a":1,"a":1}`:                 `key "a" occurs twice in an object (byte 13)`,
		`{"a":1,"\u0061":2}`:            `key "a" occurs twice in an object (byte 18)`,
		"\"\xff\"":                      "it is not valid UTF-8 (byte 2)",
		"{}\xff":                        "it is not valid UTF-8 (byte 3)",
		"{\"\ufffd\": \"a\xe2\x82\"}":   "it is not valid UTF-8 (byte 11)",
		"\xff\xfe{\x00}\x00":            "it is not valid UTF-8 (byte 1)",
		deep(maxDepth + 1):              "it is nested deeper than 1000 levels (byte 1001)",
		strings.Repeat(`{"a":`, 10_000): "it is nested deeper than 1000 levels (byte 5001)",
	} {
		if got, err := parseJSON([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("parseJSON(%.40q) = %v, %v, want %s", text, got, err, want)
		}
	}
}

// FuzzParseJSON compares with encoding/json, which differs in what it accepts:
// there a key may occur twice, and invalid UTF-8 is replaced.
func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a": [1, 2.5, -3e2, "x\u00e9\ud83d\ude00", true, false, null, {}]}`, `[]`, `""`, `1e400`, `18446744073709551616`,
		`{"a":1,"a":2}`, "\"\xff\"", `"\ud800"`, ` [ 1 , 2 ] `, `{"a":{"b":{"c":[[[]]]}}}`, `-0`, "\ufeff{}", "\ufeff\ufeff1", `0.1e-7`, "\"\u2028\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseJSON(data)
		var want any
		data = bytes.TrimPrefix(data, []byte(byteOrderMark)) // which encoding/json does not know
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		valid := json.Valid(data)
		if valid {
			if err := decoder.Decode(&want); err != nil {
				t.Fatal(err)
			}
		}
		switch {
		case err == nil && !valid:
			t.Fatalf("%q is accepted as %#v", data, got)
		case err != nil && valid:
			text := err.Error()
			if !strings.Contains(text, "occurs twice") && !strings.Contains(text, "UTF-8") && !strings.Contains(text, "nested deeper") {
				t.Fatalf("%q is refused: %v", data, err)
			}
		case err == nil:
			if want = withNumbers(want); !reflect.DeepEqual(got, want) {
				t.Fatalf("%q is %#v, want %#v", data, got, want)
			}
		}
	})
}

// withNumbers replaces each json.Number by what filters see.
func withNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if !strings.ContainsAny(string(v), ".eE") {
			if n, err := v.Int64(); err == nil {
				return n
			}
			var n uint64
			if json.Unmarshal([]byte(v), &n) == nil {
				return n
			}
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = withNumbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = withNumbers(v[key])
		}
	}
	return value
}
