package ledger_test

import (
	"bytes"
	"strings"
	"testing"

	"fanjet/internal/ledger"
)

// judgeAgain keeps an account, reads it, and returns the new verdict.
func judgeAgain(t *testing.T, l *ledger.Ledger, s ledger.Standing) string {
	t.Helper()
	var kept bytes.Buffer
	if err := l.Keep(&kept, "a test", s); err != nil {
		t.Fatal(err)
	}
	again, run, standing, err := ledger.Read(&kept)
	if err != nil {
		t.Fatal(err)
	}
	if run != "a test" {
		t.Errorf("the run is %q", run)
	}
	report := again.Check(standing)
	return report.String()
}

// What was foretold of a pair is judged besides the promise.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	letter := func(reason string) ledger.Pair {
		return ledger.Pair{Endpoint: "a", ID: "msg_1", Source: "EVENTS/1", Reason: reason}
	}
	tests := []struct {
		name     string
		foretold ledger.Outcome
		status   int // of the one request; 0: there is none
		letters  []ledger.Pair
		failed   string
	}{
		{"accepted", ledger.Accepted, 200, nil, ""},
		{"dead", "rejected", 422, []ledger.Pair{letter("rejected")}, ""},
		{"dead, with the letter stored twice", "rejected", 422, []ledger.Pair{letter("rejected"), letter("rejected")}, ""},
		{"dead instead of accepted", ledger.Accepted, 422, []ledger.Pair{letter("rejected")}, "other outcome 1"},
		{"accepted instead of dead", "rejected", 200, nil, "other outcome 1"},
		{"another reason", "rejected", 500, []ledger.Pair{letter("exhausted")}, "other outcome 1"},
		{"two reasons", "rejected", 500, []ledger.Pair{letter("exhausted"), letter("rejected")}, "other outcome 1"},
		{"both", ledger.Accepted, 200, []ledger.Pair{letter("rejected")}, "other outcome 1, strange letter 1"},
		{"neither", ledger.Accepted, 500, nil, "lost 1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := ledger.New()
			n, err := l.Publish(ledger.Event{
				Body: ledger.HashOf([]byte("body")), Endpoints: []string{"a"}, Outcomes: map[string]ledger.Outcome{"a": test.foretold},
			})
			if err != nil {
				t.Fatal(err)
			}
			l.Accept(n, "EVENTS", 1, at(0))
			a := &account{Ledger: l, t: t}
			if test.status != 0 {
				a.post("a", 10, 1, test.status)
			}
			standing := ledger.Standing{Dead: test.letters}
			report := l.Check(standing)
			if got := counts(report.Failed); got != test.failed {
				t.Errorf("nothing explains %q, want %q\n%s", got, test.failed, &report)
			}
			if again := judgeAgain(t, l, standing); again != report.String() {
				t.Errorf("kept and judged again it is\n%s\nand was\n%s", again, &report)
			}
		})
	}
}

// Order is judged again, too.
func TestHistoryOfOrder(t *testing.T) {
	t.Parallel()
	a := &account{Ledger: ledger.New(), t: t}
	a.Ordered("line")
	for _, sequence := range []uint64{2, 1} {
		body := ledger.HashOf([]byte{byte(sequence)})
		n, err := a.Publish(ledger.Event{Body: body, Endpoints: []string{"line"}, Published: at(-1)})
		if err != nil {
			t.Fatal(err)
		}
		a.Accept(n, "EVENTS", sequence, at(0))
		a.request(ledger.Request{Endpoint: "line", ID: string(rune('a' + sequence)), Body: body, Attempt: 1, Began: at(20 * int(2-sequence))}, 200)
	}
	report := a.Check(ledger.Standing{})
	if got := counts(report.Failed); got != "out of order 1" {
		t.Errorf("nothing explains %q", got)
	}
	if again := judgeAgain(t, a.Ledger, ledger.Standing{}); again != report.String() {
		t.Errorf("kept and judged again it is\n%s\nand was\n%s", again, &report)
	}
}

const (
	head  = `{"history":{"version":1,"run":"a test"}}` + "\n"
	event = `{"event":{"body":"00000000000000000000000000000000","accepted":"2026-03-01T12:00:00Z","endpoints":["a"]}}` + "\n"
)

// A history that was cut off, or that this program does not understand, is not
// judged.
func TestReadRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"whole", head + event + `{"end":{"lines":2}}`, ""},
		{"empty", "", "no end"},
		{"another file", `{"event":{}}`, "line 1: this is not a history"},
		{"a newer version, with keys of its own", `{"history":{"version":3,"by":"x"}}`, "line 1: the history has version 3"},
		{"cut off", head + event, "no end"},
		{"lines that are missing", head + `{"end":{"lines":2}}`, "line 2: the end counts 2 lines"},
		{"more after the end", head + `{"end":{"lines":1}}` + "\n" + event, "line 3: a line after the end"},
		{"an unknown line", head + `{"weather":{}}`, "line 2: json: unknown field"},
		{"an empty line", head + "{}", "line 2: a line about nothing"},
		{"a request before its event", head + `{"request":{"event":0,"endpoint":"a"}}`, "line 2: there is no event 0"},
		{"a replay of no event", head + `{"replay":{"event":-1,"endpoint":"a","at":"2026-03-01T12:00:00Z"}}`, "line 2: there is no event -1"},
		{"an event twice", head + event + event, "line 3: there is an event with the same body"},
		{"an unknown problem", head + event + `{"request":{"event":0,"endpoint":"a","problem":"ugly"}}`, `line 3: "ugly" is no problem`},
		{"a short hash", head + `{"event":{"body":"00"}}`, `line 2: "00" is no hash`},
		{"no duration", head + `{"fault":{"what":"kill","reach":"long"}}`, "line 2: time: invalid duration"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, _, _, err := ledger.Read(strings.NewReader(test.text))
			if got := errorText(err); !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzRead reads anything. What it takes can be judged, and kept again with the
// same verdict.
func FuzzRead(f *testing.F) {
	f.Add(head + event + `{"request":{"event":0,"endpoint":"a","attempt":1,"began":"2026-03-01T12:00:00Z","ended":"2026-03-01T12:00:01Z","status":200}}` + "\n" + `{"end":{"lines":3}}`)
	f.Add(head + `{"ordered":{"endpoint":"a"}}` + "\n" + event + `{"stray":{"endpoint":"a","problem":"cut off"}}` + "\n" +
		`{"fault":{"what":"kill","from":"2026-03-01T12:00:00Z","reach":"3s","moment":"1s"}}` + "\n" +
		`{"dead":{"endpoint":"a","id":"x","reason":"rejected","attempts":2}}` + "\n" + `{"end":{"lines":6}}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, run, standing, err := ledger.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		var kept bytes.Buffer
		if err := l.Keep(&kept, run, standing); err != nil {
			t.Fatal(err)
		}
		again, _, standingAgain, err := ledger.Read(&kept)
		if err != nil {
			t.Fatal(err)
		}
		first, second := l.Check(standing), again.Check(standingAgain)
		if counts(first.Failed) != counts(second.Failed) || counts(first.Explained) != counts(second.Explained) {
			t.Errorf("it was\n%s\nand is\n%s", &first, &second)
		}
	})
}
