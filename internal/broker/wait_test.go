package broker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestWaitBacksOffAndLogsOncePerChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		began := time.Now()
		var at []time.Duration
		err := Wait(t.Context(), zap.New(core), "NATS", Transient, func(context.Context) error {
			at = append(at, time.Since(began))
			switch since := time.Since(began); {
			case since < 50*time.Second:
				return nats.ErrNoServers
			case since < 70*time.Second:
				return nats.ErrTimeout
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		// 250 ms, 500 ms, 1, 2, 4 s, then 5 s, each ± 20 %.
		want := []time.Duration{0, 250 * time.Millisecond, 750 * time.Millisecond, 1750 * time.Millisecond, 3750 * time.Millisecond, 7750 * time.Millisecond, 12750 * time.Millisecond}
		for i, w := range want {
			if low, high := w-w/5, w+w/5; at[i] < low || at[i] > high {
				t.Errorf("attempt %d after %v, want %v to %v", i+1, at[i], low, high)
			}
		}
		var messages []string
		for _, entry := range logs.All() {
			messages = append(messages, entry.Message)
		}
		// At once, again after 30 s, at the change, and when it is over.
		wantLog := []string{"waiting for NATS", "waiting for NATS", "waiting for NATS", "NATS answers"}
		if len(messages) != len(wantLog) {
			t.Fatalf("%d log lines in %v, want %d: %q", len(messages), time.Since(began), len(wantLog), messages)
		}
		for i := range wantLog {
			if messages[i] != wantLog[i] {
				t.Errorf("log line %d is %q, want %q", i, messages[i], wantLog[i])
			}
		}
	})
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	t.Run("at once when the error stays", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("broken")
		calls := 0
		err := Wait(t.Context(), zap.NewNop(), "NATS", Transient, func(context.Context) error { calls++; return broken })
		if !errors.Is(err, broken) || calls != 1 {
			t.Errorf("%d calls, error %v", calls, err)
		}
	})
	t.Run("with its context", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := Wait(ctx, zap.NewNop(), "NATS", Transient, func(context.Context) error { return nats.ErrNoServers })
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("without a log line when the first attempt succeeds", func(t *testing.T) {
		t.Parallel()
		core, logs := observer.New(zapcore.DebugLevel)
		err := Wait(t.Context(), zap.New(core), "NATS", Transient, func(context.Context) error { return nil })
		if err != nil || logs.Len() != 0 {
			t.Errorf("error %v, %d log lines", err, logs.Len())
		}
	})
}
