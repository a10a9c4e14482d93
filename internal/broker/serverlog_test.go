package broker

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// A schedule that fires keeps the headers of the atomic batch that it was published
// in; as the last message of its stream, it is taken by the server for a batch that
// was cut off. It is not: all is there after a restart, and nobody is alarmed.
func TestSettledBatchAlarmsNobody(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.DebugLevel)
	dir := filepath.Join(t.TempDir(), "store")
	run := func() (jetstream.JetStream, func()) {
		t.Helper()
		s, err := StartEmbedded(Embedded{StoreDir: dir}, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		nc := connect(t, Settings{}, ConnectOptions{Server: s})
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return js, func() { nc.Close(); s.Shutdown() }
	}
	js, stop := run()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "S", Subjects: []string{"s", "at", "at.x"}, AllowAtomicPublish: true, AllowMsgSchedules: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	batch := []*nats.Msg{nats.NewMsg("at"), nats.NewMsg("at.x")}
	batch[0].Header.Set("Nats-Schedule", "@at "+time.Now().UTC().Format(time.RFC3339Nano))
	batch[0].Header.Set("Nats-Schedule-Target", "s")
	if _, err := jetstreamext.PublishMsgBatch(t.Context(), js, batch); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for fired := false; !fired; {
		info, err := stream.Info(t.Context())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the schedule does not fire: %v", err)
		}
		fired = info.State.LastSeq == 3
	}
	stop()
	js, stop = run()
	defer stop()
	if stream, err = js.Stream(t.Context(), "S"); err != nil || stream.CachedInfo().State.Msgs != 2 {
		t.Errorf("after the restart: %+v, %v", stream, err)
	}
	told := false
	for _, entry := range logs.All() {
		if entry.Level > zapcore.InfoLevel {
			t.Errorf("%s: %s", entry.Level, entry.Message)
		}
		told = told || strings.Contains(entry.Message, "Failed restoring partial batch write")
	}
	if !told {
		t.Error("this server does not say it any more: settledBatch can go")
	}
}

// Another failure in the same words is a failure.
func TestBrokenBatchAlarms(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.DebugLevel)
	newServerLog(zap.New(core)).Errorf("  Failed restoring partial batch write for stream '%s > %s' at sequence %d: %v", "$G", "S", 1, errors.New("disk on fire"))
	if all := logs.All(); len(all) != 1 || all[0].Level != zapcore.ErrorLevel {
		t.Errorf("it is logged as %v", all)
	}
}
