package match

import (
	"errors"
	"strings"
	"sync"
	"testing"
)

func checkFilter(expr string) error { return new(Filters).Check(expr, nil) }

func TestCheckFilter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		filter       string
		line, column int
		message      string // "": the filter is right
	}{
		{filter: ``},
		{filter: `true`},
		{filter: `data.amount > 1000`},
		{filter: `data.urgent`}, // dynamic, only known with an event
		{filter: `!data`},
		{filter: `data.customer.?tier.orValue("none") == "gold"`},
		{filter: `subject.startsWith("events.") && tokens[1] == "orders" && headers["X-A"] == "b" && id != "" && time.getHours("Europe/Lisbon") < 8`},
		{filter: "// big ones\ndata.amount > 1000 &&\n\tdata.currency == 'EUR'"},
		{filter: `data.sku.matches("^[A-Z]-[0-9]+$")`},
		{filter: `data.email.lowerAscii().endsWith("@example.com")`},
		{filter: "data.`content-type` == 'a'"},

		{" ", 1, 2, "the filter ends where a value is expected"},
		{"// nothing", 1, 11, "the filter ends where a value is expected"},
		{`data.amount >`, 1, 14, "the filter ends where a value is expected"},
		{`data.amount = 1000`, 1, 13, "unexpected '=' (equality is ==)"},
		{`data.a > 1 and data.b`, 1, 12, "unexpected 'and' (write && for and)"},
		{`data.a > 1 OR data.b`, 1, 12, "unexpected 'OR' (write || for or)"},
		{`data.a > 1 & data.b`, 1, 12, "unexpected '&' (write && for and)"},
		{`data.a | data.b`, 1, 8, "unexpected '|' (write || for or)"},
		{`(data.a`, 1, 8, "')' is missing at the end"},
		{`data.a)`, 1, 7, "unexpected ')'"},
		{`data.in`, 1, 6, "unexpected '.in'"},
		{`data.a == "x`, 1, 11, "a string starts here that does not end"},
		{`data.a == 'x`, 1, 11, "a string starts here that does not end"},
		{"data.a == 1 &&\n\n  dta.b", 3, 3, "unknown name 'dta' (did you mean 'data'?)"},
		{`'é' == data.a && worth > 1`, 1, 18, "unknown name 'worth'; a filter knows data, subject, tokens, headers, id and time"},
		{`frobnicate(data)`, 1, 11, "unknown function 'frobnicate'"},
		{`subject.frobnicate()`, 1, 19, "unknown function 'frobnicate'"},
		{`subject > 1`, 1, 9, "operator > does not take (string, int)"},
		{`tokens[1] == 1`, 1, 11, "operator == does not take (string, int)"},
		{`-subject == ""`, 1, 1, "operator - does not take (string)"},
		{`subject[0] == "e"`, 1, 8, "[…] does not work on (string, int)"},
		{`subject ? true : false`, 1, 9, "condition ? a : b takes a bool and two values of one type, not (string, bool, bool)"},
		{`subject.startsWith(1)`, 1, 19, "startsWith does not take string.(int)"},
		{`headers.a.b == ""`, 1, 10, "a value of type string has no fields"},
		{`data.amount + 1`, 1, 1, "a filter must yield a bool, this one yields int"},
		{`subject`, 1, 1, "a filter must yield a bool, this one yields string"},
		{`optional.of(true)`, 1, 1, "a filter must yield a bool, this one yields optional_type(bool)"},
		{`time > timestamp("yesterday")`, 1, 18, "wrong timestamp; write one like '2026-01-31T12:00:00Z'"},
		{`time - time > duration("1 day")`, 1, 24, "wrong duration; write one like '1h30m'"},
		{`data.a > 99999999999999999999`, 1, 10, "invalid int literal"},
		{`data.a.matches("(")`, 1, 16, "wrong pattern: missing closing ): `(`"},
		{`data.a.matches("(\na")`, 1, 16, "wrong pattern: missing closing ): `( a`"},
		{`matches(data.a, "a{1000}{1000}")`, 1, 17, "wrong pattern: invalid nested repetition operator: `{1000}{1000}`"},
		{`data.a.matches("[a-z]{999}[0-9]{999}")`, 1, 16, "wrong pattern: regex program size 2000 exceeds limit of 1000"},
		{`data.a.matches(data.b)`, 1, 20, "the pattern of matches must be a literal string"},
		{`data.a.replace("a", "b") == "b"`, 1, 15, "function replace is not available in filters"},
		{`"%s".format([data.a]) == "b"`, 1, 12, "function format is not available in filters"},
		{strings.Repeat("!", 16<<10) + "true", 1, 1, "expression code point size exceeds limit: size: 16388, limit 16384"},
		{strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000), 1, 1, "expression recursion limit exceeded: 250"},
	} {
		err := checkFilter(test.filter)
		if test.message == "" {
			if err != nil {
				t.Errorf("checkFilter(%q) = %v", test.filter, err)
			}
			continue
		}
		wrong, ok := errors.AsType[*FilterError](err)
		if want := (FilterError{test.line, test.column, test.message}); !ok || *wrong != want {
			t.Errorf("checkFilter(%.80q) = %v, want %v", test.filter, err, &want)
		}
	}
}

// Filters are compiled at the same time; the race detector watches.
func TestCompileConcurrently(t *testing.T) {
	t.Parallel()
	language, err := newLanguage()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for expr, right := range map[string]bool{`dta.a`: false, `data.l.exists(x, x > 1)`: true, `frobnicate()`: false, `[data.a].all(x, x.matches("a"))`: true} {
				if _, err := language.filter(expr); (err == nil) != right {
					t.Errorf("%s: %v", expr, err)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzCheckFilter: any text is accepted or refused with a place that is in it
// or right behind it, and what is accepted can be used.
func FuzzCheckFilter(f *testing.F) {
	for _, seed := range []string{
		"", "true", "data.a > 1", "data.x >", "'", "\xff", "data.a.b[0].c == {'a': [1, 2u, 3.0]}", "has(data.a) ? data.a : false",
		"[1, 2].exists(x, x > 1)", "data.?a.?b.orValue(1) == 1", "a\nb\n\nc", "subject.matches('(a|b)*')", "timestamp('') < time",
		"\"\"\"a\"\"\" == r'\\b'", "b'abc' == data", "data.map(x, x).filter(y, y).all(z, z)", "\u2028", "0x1F == 31u", "size(tokens) > -1",
	} {
		f.Add(seed)
	}
	ev := &Event{ID: "id", Subject: "events.a", Header: map[string][]string{"A": {"b"}}, Data: []byte(`{"a": {"b": [{"c": 1}]}}`)}
	f.Fuzz(func(t *testing.T, expr string) {
		err := checkFilter(expr)
		if wrong, ok := errors.AsType[*FilterError](err); ok {
			lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(expr), "\n")
			if wrong.Line < 1 || wrong.Line > len(lines) || wrong.Column < 1 || wrong.Column > len([]rune(expr))+1 {
				t.Fatalf("checkFilter(%q) points outside: %v", expr, wrong)
			}
			if wrong.Message == "" || strings.ContainsAny(wrong.Message, "\n\r") {
				t.Fatalf("checkFilter(%q): the message is not one line: %q", expr, wrong.Message)
			}
			return
		}
		if err != nil {
			t.Fatalf("checkFilter(%q): an error without a position: %v", expr, err)
		}
		m, err := New([]Subscription{{Name: "s", Subjects: []string{">"}, Filter: expr, Endpoints: []string{"e"}}})
		if err != nil {
			t.Fatalf("Check accepts %q, New does not: %v", expr, err)
		}
		matched := len(m.Match(ev, nil, nil)) == 1
		if verdict := m.Explain(ev)[0]; verdict.Matched != matched {
			t.Fatalf("%q matches: %v, explained as %v: %s", expr, matched, verdict.Matched, verdict.Reason)
		}
	})
}
