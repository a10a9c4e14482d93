package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"fanjet/internal/natstest"
)

// Commands that find nobody who answers for JetStream say why, and what to look at.
func TestCommandsSayWhyJetStreamDoesNotAnswer(t *testing.T) {
	t.Parallel()
	with := natstest.Start(t, natstest.Options{Listen: true}).URL()
	without := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) { o.JetStream = false }}).URL()
	for _, test := range []struct{ nats, want string }{
		{`url: "` + with + `", domain: elsewhere`, `nothing answers for the JetStream domain "elsewhere"`},
		{`url: "` + without + `"`, "runs without JetStream"},
	} {
		file := filepath.Join(t.TempDir(), "fanjet.yaml")
		if err := os.WriteFile(file, []byte("version: 1\nnats: {"+test.nats+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{
			"dlq list", "dlq stats", "dlq purge --all --yes", "endpoints list", "endpoints pause a", "audit list",
			"events skip --source EVENTS --to 1 --yes",
		} {
			var out bytes.Buffer
			args := append(strings.Fields(command), "--config", file)
			code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &out})
			if code != exitFailure || !strings.Contains(out.String(), test.want) {
				t.Errorf("%s: %d, %s; want %q", command, code, out.String(), test.want)
			}
		}
	}
}
