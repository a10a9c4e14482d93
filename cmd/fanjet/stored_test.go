package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// What only a newer program reads is refused by the gateway and by every command that
// would read or change it, in one sentence. What has no number, or that of this
// program, is not.
func TestCommandsRefuseWhatANewerOneStored(t *testing.T) {
	t.Parallel()
	for version, refused := range map[string]bool{"": false, "1": false, "2": true} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			srv := natstest.Start(t, natstest.Options{Listen: true})
			js := srv.JetStream()
			metadata := map[string]string{"fanjet.version": version}
			if version == "" {
				metadata = nil
			}
			for name, subject := range map[string]string{"FANJET_DLQ": "fanjet.dlq.*", "FANJET_DELIVERIES": "fanjet.deliver.*"} {
				if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
					Name: name, Subjects: []string{subject}, Discard: jetstream.DiscardNew, AllowDirect: true, Metadata: metadata,
				}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "fanjet-state", Metadata: metadata}); err != nil {
				t.Fatal(err)
			}
			audit := jetstream.StreamConfig{Name: "FANJET_AUDIT", Subjects: []string{"fanjet.audit.*.*"}, AllowDirect: true}
			if _, err := js.CreateStream(t.Context(), audit); err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(t.Context(), "fanjet.dlq.a", []byte("{}")); err != nil {
				t.Fatal(err)
			}

			file := filepath.Join(t.TempDir(), "fanjet.yaml")
			text := "version: 1\nnats: {url: \"" + srv.URL() + "\"}\nadmin: {listen: \"127.0.0.1:0\"}\nendpoints: {a: {url: \"https://example.com/a\", secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}}\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			fanjet := func(command string) (code int, out string) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				var both bytes.Buffer
				code = run(ctx, append(strings.Fields(command), "--config", file), streams{in: strings.NewReader(""), out: &both, err: &both})
				return code, both.String()
			}
			commands := []string{
				"dlq list", "dlq stats", "dlq replay --all --yes", "dlq purge --all --yes",
				"endpoints list", "endpoints pause a", "endpoints resume a",
			}
			if refused {
				commands = append(commands, "serve", "doctor", "events skip --source EVENTS --to 1 --yes")
			}
			const sentence = "a newer Fanjet stored version 2 there (fanjet.version), and this one reads versions up to 1"
			for _, command := range commands {
				code, out := fanjet(command)
				if says := strings.Contains(out, sentence); says != refused || refused && code != exitFailure {
					t.Errorf("%s: exit code %d, %s", command, code, out)
				}
				if works := command == "dlq list" || command == "dlq purge --all --yes" || command == "endpoints pause a"; works && !refused && code != exitOK {
					t.Errorf("%s: exit code %d, %s", command, code, out)
				}
			}
			stream, err := js.Stream(t.Context(), "FANJET_DLQ")
			if err != nil {
				t.Fatal(err)
			}
			if n := stream.CachedInfo().State.Msgs; refused && n != 1 {
				t.Errorf("%d letters are left", n)
			}
		})
	}
}
