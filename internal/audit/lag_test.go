package audit

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// What was recorded is listed, also by a server that has it a moment later.
func TestListFromAReplicaThatLags(t *testing.T) {
	t.Parallel()
	cluster := natstest.StartCluster(t)
	js := cluster.JetStream()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: names.AuditStream(), Subjects: []string{names.AuditSubject("*", "*")}, AllowDirect: true, DenyDelete: true, Replicas: 3,
	}); err != nil {
		t.Fatal(err)
	}
	leader, follower := cluster.Lag(js, names.AuditStream(), names.AuditSubject("gateway", "probe"))
	at := func(nc *nats.Conn) *Log {
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return New(js, names)
	}
	writer, reader := at(leader), at(follower)
	for n := range 5 {
		write(t, writer, Actor{Via: ViaCLI, Name: "ann"}, Record{Action: Pause, Target: "billing", Count: n, Result: OK})
		_, last, err := writer.bounds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if found, err := reader.whole(t.Context(), last, last); err != nil || len(found) != 1 || found[0].Count != n || found[0].Action != Pause {
			t.Errorf("the latest record is %+v, %v; want pause %d", found, err, n)
		}
		if found := list(t, reader, Filter{Limit: 1}); len(found) != 1 || found[0].Count != n {
			t.Errorf("the latest record is %+v, want pause %d", found, n)
		}
	}
}
