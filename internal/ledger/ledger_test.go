package ledger_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"fanjet/internal/ledger"
)

// start is the time 0 of the accounts in these tests.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// account is a ledger of one event "body", for a and b, that was accepted.
type account struct {
	*ledger.Ledger
	t        *testing.T
	event    int
	standing ledger.Standing
}

func newAccount(t *testing.T) *account {
	l := ledger.New()
	n, err := l.Publish(ledger.Event{Body: ledger.HashOf([]byte("body")), Endpoints: []string{"b", "a"}})
	if err != nil {
		t.Fatal(err)
	}
	l.Accept(n, "EVENTS", 1, at(0))
	return &account{Ledger: l, t: t, event: n}
}

// post enters a request that takes 10 ms; status 0 means no answer.
func (a *account) post(endpoint string, ms, attempt, status int) {
	a.request(ledger.Request{Endpoint: endpoint, ID: "msg_1", Body: ledger.HashOf([]byte("body")), Attempt: attempt, Began: at(ms)}, status)
}

func (a *account) request(r ledger.Request, status int) {
	a.End(a.Begin(r), status, r.Began.Add(10*time.Millisecond))
}

// dead enters a letter that counts so many attempts.
func (a *account) dead(attempts int) {
	letter := pairA
	letter.Attempts = attempts
	a.standing.Dead = append(a.standing.Dead, letter)
}

// kill enters a fault from one time to another that reaches back 50 ms.
func (a *account) kill(from, until int) {
	a.Healed(a.Fault(ledger.Fault{What: "kill", From: at(from), Reach: 50 * time.Millisecond}), at(until))
}

// elect enters a fault like that of kill, but nobody was killed: what was under way
// 30 ms before it goes on.
func (a *account) elect(from, until int) {
	a.Healed(a.Fault(ledger.Fault{What: "election", From: at(from), Reach: 50 * time.Millisecond, Moment: 30 * time.Millisecond}), at(until))
}

// long enters a request that takes 100 ms.
func (a *account) long(endpoint string, ms, attempt, status int) {
	r := ledger.Request{Endpoint: endpoint, ID: "msg_1", Body: ledger.HashOf([]byte("body")), Attempt: attempt, Began: at(ms)}
	a.End(a.Begin(r), status, r.Began.Add(100*time.Millisecond))
}

var (
	pairA     = ledger.Pair{Endpoint: "a", ID: "msg_1", Source: "EVENTS/1"}
	pairB     = ledger.Pair{Endpoint: "b", ID: "msg_1", Source: "EVENTS/1"}
	errForged = errors.New("no")
)

// Every verdict, and every way to cheat.
func TestCheck(t *testing.T) {
	t.Parallel()
	body := ledger.HashOf([]byte("body"))
	tests := []struct {
		name   string
		happen func(a *account)
		failed string // what nothing explains
		faults string // what a fault explains
	}{
		{"delivered once", func(a *account) { a.post("a", 10, 1, 200) }, "", ""},
		{"after failures", func(a *account) { a.post("a", 10, 1, 503); a.post("a", 30, 2, 500); a.post("a", 50, 3, 204) }, "", ""},
		{"after no answer", func(a *account) { a.post("a", 10, 1, 0); a.post("a", 30, 2, 200) }, "", ""},

		{"dropped", func(*account) {}, "lost 1", ""},
		{"only attempted", func(a *account) { a.post("a", 10, 1, 503) }, "lost 1", ""},
		{"dropped in a fault", func(a *account) { a.kill(5, 20) }, "lost 1", ""},
		{"pending", func(a *account) { a.standing.Pending = []ledger.Pair{pairA} }, "", ""},
		{"dead", func(a *account) { a.post("a", 10, 1, 410); a.standing.Dead = []ledger.Pair{pairA} }, "", ""},
		{"dead, known by its source only", func(a *account) { a.standing.Dead = []ledger.Pair{{Endpoint: "a", Source: "EVENTS/1"}} }, "", ""},
		{"letter although delivered", func(a *account) { a.post("a", 10, 1, 200); a.standing.Dead = []ledger.Pair{pairA} }, "strange letter 1", ""},
		{"letter although delivered, with a fault", func(a *account) {
			a.post("a", 10, 1, 200)
			a.kill(15, 20)
			a.standing.Dead = []ledger.Pair{pairA}
		}, "", ""},
		{"letter of nobody", func(a *account) {
			a.post("a", 10, 1, 200)
			a.standing.Dead = []ledger.Pair{{Endpoint: "a", ID: "msg_2", Source: "EVENTS/2"}}
		}, "strange letter 1", ""},
		{"letter of an endpoint that was not to get it", func(a *account) {
			a.post("a", 10, 1, 200)
			a.standing.Dead = []ledger.Pair{{Endpoint: "c", ID: "msg_1"}}
		}, "strange letter 1", ""},
		{"pending of nobody", func(a *account) {
			a.post("a", 10, 1, 200)
			a.standing.Pending = []ledger.Pair{{Endpoint: "a", ID: "msg_2"}}
		}, "strange delivery 1", ""},

		{"twice", func(a *account) { a.post("a", 10, 1, 200); a.post("a", 30, 1, 200) }, "repeated 1", ""},
		{"an attempt twice", func(a *account) { a.post("a", 10, 1, 503); a.post("a", 30, 1, 200) }, "repeated 1", ""},
		{"a next attempt after it was accepted", func(a *account) { a.post("a", 10, 1, 200); a.post("a", 30, 2, 200) }, "repeated 1", ""},
		{"twice around a fault", func(a *account) { a.post("a", 10, 1, 200); a.kill(25, 40); a.post("a", 60, 1, 200) }, "", "repeated 1"},
		{"twice after a fault", func(a *account) { a.kill(-20, -10); a.post("a", 10, 1, 200); a.post("a", 30, 1, 200) }, "repeated 1", ""},
		{"twice, struck on its way", func(a *account) { // it was moved, and the dead process had not acknowledged what it moved
			a.kill(1, 5)
			a.post("a", 10, 1, 200)
			a.post("a", 30, 1, 200)
		}, "", "repeated 1"},
		{"four times, struck on its way", func(a *account) {
			a.kill(1, 5)
			a.post("a", 10, 1, 200)
			a.post("a", 30, 1, 200)
			a.post("a", 50, 1, 200)
			a.post("a", 70, 1, 200)
		}, "repeated 1", "repeated 2"},
		{"no answer, and tried again at once", func(a *account) { a.post("a", 10, 1, 0); a.post("a", 30, 1, 200) }, "", ""},
		{"no answer of a dead process", func(a *account) { a.post("a", 10, 1, 0); a.kill(15, 17); a.post("a", 30, 1, 200) }, "", "repeated 1"},
		{"no answer, and tried again twice", func(a *account) {
			a.post("a", 10, 1, 0)
			a.post("a", 30, 1, 0)
			a.post("a", 50, 1, 200)
		}, "repeated 1", ""},
		{"twice before a fault", func(a *account) { a.post("a", 10, 1, 200); a.post("a", 30, 1, 200); a.kill(50, 60) }, "repeated 1", ""},
		{"twice, long before a fault", func(a *account) { a.post("a", 10, 1, 200); a.kill(200, 210); a.post("a", 220, 1, 200) }, "repeated 1", ""},
		{"five times with one fault", func(a *account) { // three have a reason: the attempt, the move and the fan-out
			a.post("a", 10, 1, 200)
			a.kill(25, 40)
			a.post("a", 60, 1, 200)
			a.post("a", 80, 1, 200)
			a.post("a", 100, 1, 200)
			a.post("a", 120, 1, 200)
		}, "repeated 1", "repeated 3"},
		{"three times with two faults", func(a *account) {
			a.post("a", 10, 1, 200)
			a.kill(25, 40)
			a.post("a", 60, 1, 200)
			a.kill(75, 80)
			a.post("a", 90, 1, 200)
		}, "", "repeated 2"},
		{"killed with the schedule stored", func(a *account) { // which goes on beside what is done again
			a.post("a", 10, 1, 503)
			a.kill(25, 40)
			a.post("a", 60, 1, 200)
			a.post("a", 80, 2, 200)
		}, "", "repeated 1"},
		{"replayed", func(a *account) {
			a.post("a", 10, 1, 410)
			a.Replayed(pairA, at(25))
			a.post("a", 30, 1, 200)
		}, "", ""},
		{"replayed once, sent twice", func(a *account) {
			a.post("a", 10, 1, 410)
			a.Replayed(pairA, at(25))
			a.post("a", 30, 1, 200)
			a.post("a", 50, 1, 200)
		}, "repeated 1", ""},
		{"sent before it was replayed", func(a *account) {
			a.post("a", 10, 1, 410)
			a.post("a", 30, 1, 200)
			a.Replayed(pairA, at(45))
		}, "repeated 1", ""},

		{"two at once", func(a *account) { a.post("a", 10, 1, 503); a.post("a", 15, 2, 200) }, "overlapping 1", ""},
		{"two at once, the first of a dead process", func(a *account) { a.post("a", 10, 1, 0); a.kill(12, 14); a.post("a", 15, 1, 200) }, "", "overlapping 1, repeated 1"},

		{"two at once, around a kill", func(a *account) { a.long("a", 10, 1, 200); a.kill(70, 80); a.post("a", 85, 1, 200) }, "", "overlapping 1, repeated 1"},
		{"two at once, around an election", func(a *account) { a.long("a", 10, 1, 200); a.elect(70, 80); a.post("a", 85, 1, 200) }, "overlapping 1, repeated 1", ""},
		{"two at once, the first in the last moment before an election", func(a *account) {
			a.long("a", 50, 1, 200)
			a.elect(70, 80)
			a.post("a", 85, 1, 200)
		}, "", "overlapping 1, repeated 1"},
		{"twice, its end lost in an election", func(a *account) { a.long("a", 10, 1, 200); a.elect(70, 120); a.post("a", 150, 1, 200) }, "", "repeated 1"},
		{"two at once, around an election and a kill", func(a *account) {
			a.long("a", 10, 1, 200)
			a.elect(70, 80)
			a.kill(82, 84)
			a.post("a", 85, 1, 200)
		}, "", "overlapping 1, repeated 1"},

		{"two lives that meet", func(a *account) {
			a.post("a", 10, 1, 503)
			a.kill(25, 40)
			a.post("a", 60, 1, 503)
			a.post("a", 80, 2, 503)
			a.post("a", 85, 2, 200)
		}, "", "overlapping 1, repeated 1"},

		{"the first attempt burned", func(a *account) { a.post("a", 10, 2, 200) }, "burned 1", ""},
		{"two attempts burned", func(a *account) { a.post("a", 10, 1, 503); a.post("a", 30, 4, 200) }, "burned 2", ""},
		{"an attempt burned by a kill", func(a *account) { a.post("a", 10, 1, 503); a.kill(25, 40); a.post("a", 60, 3, 200) }, "burned 1", ""},
		{"an attempt that comes too late", func(a *account) {
			a.post("a", 10, 1, 503)
			a.kill(25, 40)
			a.post("a", 60, 3, 503)
			a.post("a", 80, 2, 200)
		}, "burned 1", "repeated 1"},
		{"an attempt that was cut off is none that burned", func(a *account) {
			a.post("a", 10, 1, 503)
			a.request(ledger.Request{Endpoint: "a", ID: "msg_1", Cut: true, Attempt: 2, Began: at(30)}, 0)
			a.kill(35, 40)
			a.post("a", 50, 3, 200)
		}, "", "cut off 1"},
		{"without a number", func(a *account) { a.post("a", 10, 0, 200) }, "", ""},
		{"replayed, a new generation", func(a *account) {
			a.post("a", 10, 1, 503)
			a.post("a", 30, 2, 410)
			a.Replayed(pairA, at(45))
			a.post("a", 50, 1, 503)
			a.post("a", 70, 2, 200)
		}, "", ""},
		{"replayed, an attempt burned", func(a *account) {
			a.post("a", 10, 1, 503)
			a.post("a", 30, 2, 410)
			a.Replayed(pairA, at(45))
			a.post("a", 50, 2, 200)
		}, "burned 1", ""},
		{"replayed beside a life that a kill made", func(a *account) {
			a.post("a", 10, 1, 503)
			a.post("a", 30, 2, 410)
			a.kill(45, 50)
			a.Replayed(pairA, at(55))
			a.post("a", 60, 2, 410)
			a.post("a", 80, 1, 503)
			a.post("a", 100, 2, 200)
		}, "", "repeated 1"},

		{"a letter with its attempts", func(a *account) {
			a.post("a", 10, 1, 503)
			a.post("a", 30, 2, 410)
			a.dead(2)
		}, "", ""},
		{"a letter without any", func(a *account) { a.dead(0) }, "", ""},
		{"a letter with an attempt that nobody saw", func(a *account) { a.post("a", 10, 1, 503); a.dead(3) }, "burned 2", ""},
		{"a letter with attempts of which nobody saw any", func(a *account) { a.kill(5, 20); a.dead(2) }, "burned 2", ""},
		{"a letter with fewer attempts than were seen", func(a *account) {
			a.post("a", 10, 1, 503)
			a.post("a", 30, 2, 410)
			a.dead(1)
		}, "strange letter 1", ""},
		{"a letter of one life, while another goes on", func(a *account) {
			a.post("a", 10, 1, 410)
			a.kill(25, 40)
			a.post("a", 60, 1, 503)
			a.post("a", 80, 2, 503)
			a.dead(1)
		}, "", "repeated 1"},
		{"a letter of a generation", func(a *account) {
			a.post("a", 10, 1, 503)
			a.post("a", 30, 2, 410)
			a.Replayed(pairA, at(45))
			a.post("a", 50, 1, 410)
			a.dead(1)
		}, "", ""},

		{"forged", func(a *account) {
			a.request(ledger.Request{Endpoint: "a", ID: "msg_1", Body: body, Forged: errForged, Attempt: 1, Began: at(10)}, 200)
		}, "lost 1, signature not valid 1", ""},
		{"other bytes", func(a *account) {
			a.post("a", 10, 1, 200)
			a.request(ledger.Request{Endpoint: "a", ID: "msg_1", Body: ledger.HashOf(nil), Attempt: 2, Began: at(30)}, 200)
		}, "changed bytes 1", ""},
		{"another id", func(a *account) {
			a.post("a", 10, 1, 503)
			a.request(ledger.Request{Endpoint: "a", ID: "msg_2", Body: body, Attempt: 2, Began: at(30)}, 200)
		}, "changed webhook-id 1, lost 1", ""},
		{"without an id", func(a *account) {
			a.request(ledger.Request{Endpoint: "a", Body: body, Attempt: 1, Began: at(30)}, 200)
		}, "changed webhook-id 1, lost 1", ""},
		{"invented", func(a *account) {
			a.post("a", 10, 1, 200)
			a.request(ledger.Request{Endpoint: "a", ID: "msg_2", Body: ledger.HashOf(nil), Attempt: 1, Began: at(30)}, 200)
		}, "unknown event 1", ""},
		{"to another endpoint", func(a *account) { a.post("a", 10, 1, 200); a.post("c", 10, 1, 200) }, "wrong endpoint 1", ""},
		{"broken off", func(a *account) {
			a.request(ledger.Request{Endpoint: "a", ID: "msg_1", Cut: true, Attempt: 1, Began: at(10)}, 0)
			a.post("a", 30, 1, 200)
		}, "cut off 1", ""},
		{"broken off by a fault", func(a *account) {
			a.request(ledger.Request{Endpoint: "a", ID: "msg_1", Cut: true, Attempt: 1, Began: at(10)}, 0)
			a.kill(15, 20)
			a.post("a", 30, 1, 200)
		}, "", "cut off 1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(t)
			a.post("b", 1, 1, 200)
			test.happen(a)
			report := a.Check(a.standing)
			if got := counts(report.Failed); got != test.failed {
				t.Errorf("nothing explains %q, want %q\n%s", got, test.failed, &report)
			}
			if got := counts(report.Explained); got != test.faults {
				t.Errorf("faults explain %q, want %q\n%s", got, test.faults, &report)
			}
			if failed := report.Err() != nil; failed != (test.failed != "") {
				t.Errorf("the check says %v", report.Err())
			}
			if again := judgeAgain(t, a.Ledger, a.standing); again != report.String() {
				t.Errorf("kept and judged again it is\n%s\nand was\n%s", again, &report)
			}
		})
	}
}

// counts prints what a report counts, sorted by name.
func counts(of map[ledger.Kind]int) string {
	var parts []string
	for _, kind := range []ledger.Kind{
		ledger.Burned, ledger.ChangedBytes, ledger.ChangedID, ledger.Cut, ledger.Lost, ledger.OtherOutcome, ledger.OutOfOrder, ledger.Overlap, ledger.Repeat,
		ledger.Forged, ledger.StrangePending, ledger.StrangeLetter, ledger.UnknownEvent, ledger.WrongEndpoint,
	} {
		if n := of[kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", kind, n))
		}
	}
	return strings.Join(parts, ", ")
}

// What got no PubAck may arrive or not, but not twice.
func TestPerhapsAccepted(t *testing.T) {
	t.Parallel()
	for requests, want := range []string{"", "", "repeated 1"} {
		l := ledger.New()
		if _, err := l.Publish(ledger.Event{Body: ledger.HashOf(nil), Endpoints: []string{"a"}}); err != nil {
			t.Fatal(err)
		}
		a := account{Ledger: l, t: t}
		for i := range requests {
			a.request(ledger.Request{Endpoint: "a", ID: "msg_1", Attempt: 1, Body: ledger.HashOf(nil), Began: at(20 * i)}, 200)
		}
		report := l.Check(ledger.Standing{})
		if got := counts(report.Failed); got != want {
			t.Errorf("%d requests: %q, want %q", requests, got, want)
		}
		if report.Absent+report.Delivered != 1 || report.Maybe != 1 || report.Pairs != 0 {
			t.Errorf("%d requests: %s", requests, &report)
		}
	}
}

// An attempt whose body was cut off was seen, also when nobody knew of what event it
// was.
func TestCutOffIsNotBurned(t *testing.T) {
	t.Parallel()
	for attempt, want := range map[int]string{1: "", 0: "burned 1"} {
		l := ledger.New()
		body := ledger.HashOf([]byte("body"))
		if _, err := l.Publish(ledger.Event{Body: body, Endpoints: []string{"a"}, Accepted: at(0)}); err != nil {
			t.Fatal(err)
		}
		a := &account{Ledger: l, t: t}
		a.request(ledger.Request{Endpoint: "a", ID: "msg_1", Cut: true, Attempt: attempt, Began: at(10)}, 0)
		a.kill(15, 20)
		a.post("a", 30, 2, 200)
		report := l.Check(ledger.Standing{})
		if counts(report.Failed) != want || counts(report.Explained) != "cut off 1" {
			t.Errorf("attempt %d: %s, want %q", attempt, &report, want)
		}
		if again := judgeAgain(t, l, ledger.Standing{}); again != report.String() {
			t.Errorf("kept and judged again it is\n%s\nand was\n%s", again, &report)
		}
	}
}

// The PubAck of an event that was stored before its server died comes late. What
// the fault did to its deliveries is explained nevertheless.
func TestStoredBeforeThePubAck(t *testing.T) {
	t.Parallel()
	for published, want := range map[int]string{0: "", 45: "repeated 1"} {
		l := ledger.New()
		n, err := l.Publish(ledger.Event{Body: ledger.HashOf([]byte("body")), Endpoints: []string{"a"}, Published: at(published)})
		if err != nil {
			t.Fatal(err)
		}
		a := &account{Ledger: l, t: t, event: n}
		a.kill(10, 40)
		a.post("a", 50, 1, 200)
		a.post("a", 70, 1, 200)
		l.Accept(n, "EVENTS", 1, at(500))
		report := l.Check(ledger.Standing{})
		if counts(report.Failed) != want {
			t.Errorf("published at %d ms: nothing explains %q, want %q", published, counts(report.Failed), want)
		}
		if again := judgeAgain(t, l, ledger.Standing{}); again != report.String() {
			t.Errorf("kept and judged again it is\n%s\nand was\n%s", again, &report)
		}
	}
}

// An ordered endpoint accepts the events of a source in order, for the first
// time; another one need not.
func TestOrder(t *testing.T) {
	t.Parallel()
	order := func(endpoint string, sequences ...uint64) string {
		a := account{Ledger: ledger.New(), t: t}
		a.Ordered("line")
		for i, sequence := range sequences {
			body := ledger.HashOf(fmt.Append(nil, sequence))
			n, err := a.Publish(ledger.Event{Body: body, Endpoints: []string{endpoint}})
			if err != nil {
				t.Fatal(err)
			}
			a.Accept(n, "EVENTS", sequence, at(0))
			a.request(ledger.Request{Endpoint: endpoint, ID: fmt.Sprint("msg_", sequence), Body: body, Attempt: 1, Began: at(20 * i)}, 200)
		}
		report := a.Check(ledger.Standing{})
		return counts(report.Failed)
	}
	if got := order("line", 1, 2, 5, 9); got != "" {
		t.Errorf("in order: %q", got)
	}
	if got := order("line", 1, 5, 2, 9); got != "out of order 1" {
		t.Errorf("not in order: %q", got)
	}
	if got := order("other", 1, 5, 2, 9); got != "" {
		t.Errorf("not in order, where none is promised: %q", got)
	}
}

// Two events that could not be told apart are refused.
func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	l := ledger.New()
	for i, test := range []struct {
		event ledger.Event
		ok    bool
	}{
		{ledger.Event{Body: ledger.HashOf([]byte("1"))}, true},
		{ledger.Event{Body: ledger.HashOf([]byte("1"))}, false},
		{ledger.Event{Body: ledger.HashOf([]byte("1")), ID: "msg_1"}, true},
		{ledger.Event{Body: ledger.HashOf([]byte("2")), ID: "msg_1"}, false},
	} {
		if _, err := l.Publish(test.event); (err == nil) != test.ok {
			t.Errorf("event %d: %v", i, err)
		}
	}
}

// The report names what it complains of, with all that is known.
func TestReportShowsHistory(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.post("b", 1, 1, 200)
	a.post("a", 10, 1, 503)
	a.kill(40, 50)
	report := a.Check(a.standing)
	for _, want := range []string{
		"1 events accepted, 0 perhaps; 2 pairs, 2 requests, 1 faults", "lost 1;",
		"lost: EVENTS/1 msg_1 -> a", "PubAck 12:00:00.000", "request 12:00:00.010, attempt 1, answered 503 at 12:00:00.020", "fault kill, 12:00:00.040",
	} {
		if !strings.Contains(report.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &report)
		}
	}
	if len(report.Offences) != 1 || report.Offences[0].Pair != pairA {
		t.Errorf("offences: %+v, want one of %v, none of %v", report.Offences, pairA, pairB)
	}
}

// A million losses do not make a million histories.
func TestOffencesAreBounded(t *testing.T) {
	t.Parallel()
	l := ledger.New()
	const n = 1000
	for i := range n {
		e := ledger.Event{Body: ledger.HashOf(fmt.Append(nil, i)), Accepted: at(i), Stream: "EVENTS", Sequence: uint64(i + 1), Endpoints: []string{"a"}}
		if _, err := l.Publish(e); err != nil {
			t.Fatal(err)
		}
	}
	report := l.Check(ledger.Standing{})
	if report.Failed[ledger.Lost] != n || len(report.Offences) != 100 || strings.Count(report.String(), "lost: ") != 10 {
		t.Errorf("%d offences\n%s", len(report.Offences), &report)
	}
}
