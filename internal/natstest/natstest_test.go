package natstest_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"fanjet/internal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

func TestRestartKeepsStreamsAndConnections(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		opts natstest.Options
	}{
		{"in process", natstest.Options{}},
		{"listening, every write synced", natstest.Options{Listen: true, SyncAlways: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s := natstest.Start(t, test.opts)
			js := s.JetStream()
			if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(ctx, "s.before", []byte("kept")); err != nil {
				t.Fatal(err)
			}
			url := s.URL()

			back := make(chan struct{})
			s.Conn().SetReconnectHandler(func(*nats.Conn) { close(back) })
			s.Restart()
			<-back

			if s.URL() != url {
				t.Errorf("the server moved from %s to %s", url, s.URL())
			}
			stream, err := js.Stream(ctx, "S")
			if err != nil {
				t.Fatal(err)
			}
			if got := stream.CachedInfo().State.Msgs; got != 1 {
				t.Errorf("%d messages survived the restart, want 1", got)
			}
		})
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{Listen: true})
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.Flush(); err != nil {
		t.Error(err)
	}
}

func TestStopIsAnOutage(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	lost := make(chan struct{})
	nc := s.Connect(nats.DisconnectErrHandler(func(*nats.Conn, error) { close(lost) }))
	s.Stop()
	<-lost
	if nc.IsConnected() {
		t.Error("the connection outlived the server")
	}
	if _, err := s.InProcessConn(); err == nil {
		t.Error("a stopped server took a connection")
	}
}
