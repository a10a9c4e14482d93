package match

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Whatever keeps filters from reading an event is told for each filter that needs
// its data, with the place and without anything of the event.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	for data, want := range map[string]struct {
		reason string
		at     int
	}{
		"":                                 {"it is empty", 0},
		" \r\n":                            {"it is empty", 0},
		"\ufeff":                           {"it is empty", 0},
		"secret":                           {"unexpected character", 1},
		`{"secret": 1, "secret": 2}`:       {"a key occurs twice in an object", 26},
		`{"a": {"secret": 1, "secret": 2}`: {"a key occurs twice in an object", 32},
		`{"secret": 1,}`:                   {"unexpected character", 14},
		`{"secret": NaN}`:                  {"unexpected character", 12},
		`{"secret": "\q"}`:                 {"invalid escape", 13},
		`{"secret": 1} secret`:             {"something follows the value", 15},
		`{"secret": "sec`:                  {"it ends too early", 16},
		"{\"secret\": \"\xff\"}":           {"it is not valid UTF-8", 13},
		"\ufeff{\"secret\": é}":            {"unexpected character", 15},
		deep:                               {"it is nested deeper than 1000 levels", 1001},
	} {
		m := newMatcher(t, Subscription{Name: "s", Subjects: []string{"a"}, Filter: "data.secret == 1", Endpoints: []string{"e"}})
		var got []*UnreadableError
		m.Match(&Event{Subject: "a", Data: []byte(data)}, nil, func(_ string, err error) {
			if why, ok := errors.AsType[*UnreadableError](err); ok {
				got = append(got, why)
			}
		})
		if len(got) != 1 || got[0].Reason != want.reason || got[0].Byte != want.at {
			t.Errorf("%.40q: %+v, want %+v", data, got, want)
		}
	}
}

// What is told of an event that cannot be read holds nothing of it.
func TestUnreadableReasonsAreFew(t *testing.T) {
	t.Parallel()
	known := []string{
		"it is empty", "unexpected character", "a key occurs twice in an object", "invalid escape", "something follows the value",
		"it ends too early", "it is not valid UTF-8", "it is nested deeper than 1000 levels",
	}
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.OneOf(
			rapid.SliceOf(rapid.Byte()),
			rapid.Map(rapid.StringMatching(`\x{feff}?[\[{]?("[a-z\\]{0,3}":?,?|[\]},:0-9.eE+-]|nul+|true){0,12}[\]}]?`), func(s string) []byte { return []byte(s) }),
		).Draw(t, "data")
		if _, err := parseJSON(data); err != nil {
			if why := unreadable(err); !slices.Contains(known, why.Reason) || why.Byte > len(data)+1 {
				t.Fatalf("%q: %+v", data, why)
			}
		}
	})
}

// A filter that has a value without the data is not told of; one that has none is,
// whatever else it lacks.
func TestWhoNeedsData(t *testing.T) {
	t.Parallel()
	for filter, needs := range map[string]bool{
		`data.a > 1`:                                  true,
		`data`:                                        true,
		`has(data.a)`:                                 true,
		`!has(data.a)`:                                true,
		`data.?a.orValue(1) == 1`:                     true,
		`data[?"a"].hasValue()`:                       true,
		`optional.of(data.a).hasValue()`:              true,
		`data == null`:                                true,
		`type(data) == map`:                           true,
		`size(data) > 0`:                              true,
		`string(data.a) == "x"`:                       true,
		`data.a + 1 > 2`:                              true,
		`-data.a < 0`:                                 true,
		`!data.a`:                                     true,
		`data.a ? true : false`:                       true,
		`data.a in data.b`:                            true,
		`data.a in [1, 2]`:                            true,
		`data.s.matches("a")`:                         true,
		`data.s.startsWith("a")`:                      true,
		`data.l.all(x, x > 0)`:                        true,
		`data.l.exists_one(x, x > 0)`:                 true,
		`data.l.map(x, x).size() > 0`:                 true,
		`[1, 2].exists(x, x == data.a)`:               true,
		`[data.a] == [1]`:                             true,
		`{"a": data}.a == 1`:                          true,
		`timestamp(data.t) > time`:                    true,
		`time.getHours(data.zone) < 24`:               true,
		`headers["T"] == data.a`:                      true,
		`headers[data.a] == "a"`:                      true,
		`headers[?data.a].hasValue()`:                 true,
		`tokens[data.i] == "a"`:                       true,
		`data.a || data.b`:                            true,
		`data.a && data.b`:                            true,
		`headers["T"] == "b" || data.a`:               true,
		`headers["Missing"] == "b" || data.a`:         true,
		`data.a || headers["Missing"] == "b"`:         true,
		`headers["T"] == "a" && data.a == 1`:          true,
		`headers["T"] == "a" || data.a == 1`:          false,
		`data.a == 1 || headers["T"] == "a"`:          false,
		`headers["T"] == "b" && data.a == 1`:          false,
		`data.a == 1 && headers["T"] == "b"`:          false,
		`headers["T"] == "a" ? true : data.a == 1`:    false,
		`subject == "a"`:                              false,
		`headers["Missing"] == "b"`:                   false,
		`true || data.a`:                              false,
		`int(headers["T"]) == 1`:                      false,
		`[1].exists(x, x == 1 || data.a == x)`:        false,
		`data.a == 9007199254740993`:                  true,
		`data.a <= 1.0e300 && data.a in [1e300, 2.0]`: true,
	} {
		m := newMatcher(t,
			Subscription{Name: "before", Subjects: []string{"a"}, Filter: `data.other == 1`, Endpoints: []string{"e"}},
			Subscription{Name: "s", Subjects: []string{"a"}, Filter: filter, Endpoints: []string{"e"}},
			Subscription{Name: "after", Subjects: []string{"a"}, Filter: `headers["Missing"] == "x"`, Endpoints: []string{"e"}})
		for _, data := range []string{"", "x", `{"a": 1,}`} {
			var told []string
			m.Match(&Event{Subject: "a", Header: map[string][]string{"T": {"a"}}, Data: []byte(data)}, nil, func(subscription string, err error) {
				if _, ok := errors.AsType[*UnreadableError](err); ok {
					told = append(told, subscription)
				}
			})
			want := []string{"before"}
			if needs {
				want = append(want, "s")
			}
			if !slices.Equal(told, want) {
				t.Errorf("%s with %q: told of %v, want %v", filter, data, told, want)
			}
		}
	}
}

// A byte order mark is nothing that a filter sees.
func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	ev := &Event{Subject: "a", Data: []byte("\ufeff{\"a\": 1}")}
	if out, err := run(t, "data.a == 1", ev); out != passed {
		t.Errorf("%v %v", out, err)
	}
	m := newMatcher(t, Subscription{Name: "s", Subjects: []string{"a"}, Filter: "data.a == 1", Endpoints: []string{"e"}})
	got := m.Match(ev, nil, func(_ string, err error) { t.Error(err) })
	if verdict := m.Explain(ev)[0]; !verdict.Matched || fmt.Sprint(got) != "[e]" {
		t.Errorf("%v %+v", got, verdict)
	}
}
