package config

import (
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
)

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "15s": 15 * time.Second, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "250ms": 250 * time.Millisecond,
		"7d": 7 * day, "1d12h": 36 * time.Hour, "0d": 0, "-5s": -5 * time.Second,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("parseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "s", "15", "1.5", "-3", "+3", "1e3", "5 s", "d", "1.5d", "-1d", "1d-1h", "1d1d", "1w", "106752d", "106751d24h", "99999999999999999999d", "inf",
	} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	t.Parallel()
	for value, want := range map[time.Duration]string{
		0: "0s", time.Millisecond: "1ms", 15 * time.Second: "15s", 10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Minute: "1h30m",
		day: "1d", 36 * time.Hour: "36h", 3650 * day: "3650d", time.Hour + time.Second: "1h0m1s", 20 * time.Minute: "20m",
	} {
		got := formatDuration(value)
		if got != want {
			t.Errorf("formatDuration(%v) = %q, want %q", value, got, want)
		}
		if back, err := parseDuration(got); err != nil || back != value {
			t.Errorf("parseDuration(%q) = %v, %v, want %v", got, back, err, value)
		}
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "1048576": 1 << 20, "1KiB": 1 << 10, "512 MiB": 512 << 20, "10GiB": 10 << 30, "3TiB": 3 << 40,
		"9223372036854775807": 1<<63 - 1, "8388607TiB": 8388607 << 40,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "10GB", "1K", "1kib", "GiB", "9223372036854775808", "8388608TiB", "1_000"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %v, want an error", text, got)
		}
	}
}

func TestParseRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]endpoint.Rate{
		"": {}, "100/s": {Count: 100, Per: time.Second}, "600/m": {Count: 600, Per: time.Minute}, "1/m": {Count: 1, Per: time.Minute},
		"1000000/s": {Count: 1_000_000, Per: time.Second},
	} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("parseRate(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for text, hint := range map[string]string{
		"100": "write 100/s or 100/m", "100/sec": "did you mean 100/s?", "60 per minute": "did you mean 60/m?", "5ps": "did you mean 5/s?",
		"0/s": "leave it empty", "1000001/m": "leave it empty", "99999999999999999999/s": "leave it empty",
		"-1/s": "such as 100/s", "1.5/s": "such as 100/s", "/s": "such as 100/s", "100/h": "such as 100/s", " 1/s": "such as 100/s", "none": "such as 100/s",
	} {
		if got, err := parseRate(text); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("parseRate(%q) = %v, %v, want an error with %q", text, got, err, hint)
		}
	}
}

// locate must find, in every way that YAML has to write text, the character
// that stands for a marked one of the text.
func TestLocate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, yaml   string
		mark         string // in the text of f; located is its first character
		line, column int    // want
	}{
		{"plain", "f: aaa § bbb\n", "§", 1, 8},
		{"plain over lines", "f: aaa\n   bbb\n     § ccc\n", "§", 3, 6},
		{"single quotes", "f: 'it''s § it'\n", "§", 1, 11},
		{"double quotes", `f: "a \" \\ \t b\n § x"` + "\n", "§", 1, 20},
		{"double quotes, escapes of characters", `f: "\x41\u00e9\U0001F600 §"` + "\n", "§", 1, 26},
		{"double quotes over lines", "f: \"aaa\n  bbb \\\n   § c\"\n", "§", 3, 4},
		{"literal block", "f: |\n  aaa\n    bbb § c\n", "§", 3, 9},
		{"literal block with empty lines", "f: |\n\n\n  aaa\n\n  § c\n", "§", 6, 3},
		{"literal block with a comment behind its header", "f: |+ # § comment\n  a\n  §\n", "§", 3, 3},
		{"literal block with an indentation indicator", "f: |2\n    a\n  b §\n", "§", 3, 5},
		{"folded block", "f: >-\n  aaa\n  bbb\n\n  ccc §\n", "§", 5, 7},
		{"wide characters", "f: äöü § x\n", "§", 1, 8},
		{"carriage returns", "f: |\r\n  aaa\r\n  b §\r\n", "§", 3, 5},
		{"after other keys", "a: {b: c}\ng: x\nf: 'x §'\n", "§", 3, 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var d decoder
			root := d.parse(&source{name: "f.yaml", text: tt.yaml})
			if len(d.problems) > 0 || root.get("f") == nil {
				t.Fatalf("problems %v", d.problems)
			}
			f := root.get("f")
			before, _, ok := strings.Cut(f.text, tt.mark)
			if !ok {
				t.Fatalf("no %s in %q", tt.mark, f.text)
			}
			line := 1 + strings.Count(before, "\n")
			column := 1 + len([]rune(before[strings.LastIndex(before, "\n")+1:]))
			if gotLine, gotColumn := f.locate(line, column); gotLine != tt.line || gotColumn != tt.column {
				t.Errorf("locate(%d, %d) of %q = %d:%d, want %d:%d", line, column, f.text, gotLine, gotColumn, tt.line, tt.column)
			}
		})
	}
}

// Behind the text, the place is right behind its last character, and never
// outside of the scalar.
func TestLocateEnd(t *testing.T) {
	t.Parallel()
	for yaml, want := range map[string][2]int{
		"f: abc\ng: 1\n":        {1, 7},
		"f: |\n  abc\n\ng: 1\n": {2, 6},
		"f: ' abc '\n":          {1, 9},
		"f: \"\"\n":             {1, 5},
	} {
		var d decoder
		f := d.parse(&source{name: "f.yaml", text: yaml}).get("f")
		for _, place := range [][2]int{{1, 1000}, {1000, 1}} {
			if line, column := f.locate(place[0], place[1]); line != want[0] || column != want[1] {
				t.Errorf("locate(%v) of %q = %d:%d, want %v", place, yaml, line, column, want)
			}
		}
	}
}

// In a list inside of { }, the parser takes text with a colon for a map.
func TestTextWithColonInFlow(t *testing.T) {
	t.Parallel()
	var d decoder
	root := d.parse(&source{name: "f.yaml", text: `f: {l: [env:A, file:/a, 10.0.0.0/8:80, "fd00::/8", fd00::/8, a:b:c, x: y, "q":z], u: https://a:1/}`})
	if len(d.problems) > 0 {
		t.Fatal(d.problems)
	}
	var got []string
	for _, item := range root.get("f").get("l").items {
		if item.kind != kindScalar {
			got = append(got, item.kind.String())
			continue
		}
		got = append(got, item.text)
	}
	if want := "env:A|file:/a|10.0.0.0/8:80|fd00::/8|fd00::/8|a:b:c|a map|a map"; strings.Join(got, "|") != want {
		t.Errorf("items %q, want %q", strings.Join(got, "|"), want)
	}
	if first := root.get("f").get("l").items[0]; first.line != 1 || first.column != 9 || first.path() != "f.l[0]" {
		t.Errorf("the first item is %s at %d:%d, want f.l[0] at 1:9", first.path(), first.line, first.column)
	}
}
