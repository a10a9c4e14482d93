package gateway

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// A fault is logged once, also when a figure in it changes at every look; another
// one is, and the same one after the part worked.
func TestNotReadyIsLoggedOnce(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(i int) string{
		"countdown": func(i int) string {
			return fmt.Sprintf("waits for another %v", 90*time.Second-time.Duration(i)*5*time.Second)
		},
		"seconds":         func(i int) string { return fmt.Sprintf("has waited for %d s, of 60", i*5) },
		"units":           func(i int) string { return fmt.Sprintf("%d min %d s left", i/12, i*5%60) },
		"words":           func(i int) string { return fmt.Sprintf("tried again in %d seconds", 20-i) },
		"time":            func(i int) string { return "until " + time.Unix(int64(i*5), 0).UTC().Format(time.RFC3339) },
		"clock time":      func(i int) string { return "until " + time.Unix(int64(i*5), 0).UTC().Format("15:04:05.000") },
		"size":            func(i int) string { return fmt.Sprintf("the disk has %.1f GiB (%d%%) left", 2-float64(i)/10, i) },
		"signed":          func(i int) string { return fmt.Sprintf("the clock is off by %+d ms", 10-i) },
		"large":           func(i int) string { return fmt.Sprintf("1,00%d,000 messages wait", i%10) },
		"fraction":        func(i int) string { return fmt.Sprintf("since %.3fs", float64(i)*0.7) },
		"sequence":        func(i int) string { return fmt.Sprintf("EVENTS/%d is not settled", i) },
		"one and several": func(i int) string { return []string{"1 event waits", "2 events wait"}[i%2] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core, logs := observer.New(zap.InfoLevel)
			h := &health{log: zap.New(core)}
			most := 1
			if name == "one and several" {
				most = 2
			}
			for i := range 20 {
				h.set("part", errors.New(say(i)))
			}
			if n := logs.FilterMessage("not ready").Len(); n != most {
				t.Errorf("%d lines, want %d: %v", n, most, logs.All())
			}
			if got := h.err(); got == nil || got.Error() != "part: "+say(19) {
				t.Errorf("ready says %v, want the latest figure", got)
			}
			h.set("other", errors.New(say(1)))
			h.set("part", errors.New("the stream EVENTS_1 is gone"))
			h.set("part", errors.New("the stream EVENTS_2 is gone"))
			h.set("part", nil)
			h.set("part", errors.New(say(1)))
			if n := logs.FilterMessage("not ready").Len(); n != most+4 {
				t.Errorf("%d lines after other faults, want %d: %v", n, most+4, logs.All())
			}
		})
	}
}
