package subscriber

import (
	"testing"
	"time"

	"fanjet/dlq"
)

// Ten letters a minute of each endpoint and reason have a line, and the next one
// says how many had none.
func TestLetterLines(t *testing.T) {
	t.Parallel()
	var l letterLines
	for i := range 25 {
		ok, omitted := l.allow("a", dlq.ReasonRejected, noon.Add(time.Duration(i)*time.Second))
		if ok != (i < letterLinesPer) || omitted != 0 {
			t.Errorf("letter %d: %v, %d omitted", i+1, ok, omitted)
		}
	}
	for _, other := range []letterKind{{"b", dlq.ReasonRejected}, {"a", dlq.ReasonExpired}} {
		if ok, omitted := l.allow(other.endpoint, other.reason, noon); !ok || omitted != 0 {
			t.Errorf("%v: %v, %d omitted, for the sake of others", other, ok, omitted)
		}
	}
	if ok, omitted := l.allow("a", dlq.ReasonRejected, noon.Add(letterLinesIn)); !ok || omitted != 15 {
		t.Errorf("a minute later: %v, %d omitted, want 15", ok, omitted)
	}
	if ok, omitted := l.allow("a", dlq.ReasonRejected, noon.Add(letterLinesIn)); !ok || omitted != 0 {
		t.Errorf("after that: %v, %d omitted again", ok, omitted)
	}
	l.forget("a")
	if len(l.of) != 1 {
		t.Errorf("%d kinds are remembered, want that of b", len(l.of))
	}
}
