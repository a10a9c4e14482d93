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

// The commands connect as the user that the configuration refers to, on a machine
// that has none of the other secrets; and what is wrong with it is said without
// the password.
func TestCommandsConnectAsAUser(t *testing.T) {
	const password = "correct horse battery"
	url := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
		o.Users = []*server.User{{Username: "ops", Password: password}}
	}}).URL()
	file := filepath.Join(t.TempDir(), "fanjet.yaml")
	text := "version: 1\nnats: {url: \"" + url + "\", user: \"env:FANJET_TEST_USER\", password: \"env:FANJET_TEST_PASSWORD\"}\n" +
		"endpoints: {a: {url: \"https://a.example.com/\", secrets: [\"env:FANJET_TEST_MISSING\"]}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	fanjet := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := run(t.Context(), append(args, "--config", file), streams{in: strings.NewReader(""), out: &out, err: &out})
		if strings.Contains(out.String(), password) {
			t.Errorf("%v shows the password: %s", args, out.String())
		}
		return code, out.String()
	}
	t.Setenv("FANJET_TEST_USER", "ops")
	if code, out := fanjet("dlq", "stats"); code != exitFailure || !strings.Contains(out, "FANJET_TEST_PASSWORD is not set") {
		t.Errorf("without a password: %d, %s", code, out)
	}
	t.Setenv("FANJET_TEST_PASSWORD", password)
	if code, out := fanjet("dlq", "stats"); code != exitFailure || !strings.Contains(out, "has the gateway ever run against this NATS") {
		t.Errorf("with the password, before the first start: %d, %s", code, out)
	}
	if code, out := fanjet("check", "--no-secrets"); code != exitOK {
		t.Errorf("check --no-secrets: %d, %s", code, out)
	}
	t.Setenv("FANJET_TEST_PASSWORD", "hunter2 hunter2")
	if code, out := fanjet("dlq", "stats"); code != exitFailure || !strings.Contains(out, "refused the user in nats.user") || strings.Contains(out, "hunter2") {
		t.Errorf("with another password: %d, %s", code, out)
	}
}
