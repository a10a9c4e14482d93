package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanjet/internal/natstest"
	"fanjet/internal/runfile"
)

const besideEndpoints = `
endpoints:
  one: {url: "https://one.example.com/"}
subscriptions:
  - {name: all, subjects: ["none.>"], endpoints: [one]}
sources: [{stream: EVENTS, subjects: ["none.>"], create: true}]
`

// Whatever becomes of its configuration file, the commands find a gateway that runs.
// Its listeners have ports that the file does not tell, too.
func TestCommandsBesideABrokenFile(t *testing.T) {
	t.Parallel()
	p := newGatewayProcess(t, "", besideEndpoints)
	p.start()
	waitUntil(t, "the gateway has left where it is", func() bool {
		found := runfile.Find(p.config, runfile.Folders())
		return len(found) == 1 && !strings.HasSuffix(found[0].NATS.Listen, ":0")
	})
	good := readText(t, p.config)
	address := "nats://" + runfile.Find(p.config, runfile.Folders())[0].NATS.Listen
	commands := [][]string{
		{"endpoints", "list", "--nats", address},
		{"dlq", "list", "--nats", address},
		{"publish", "none.x", "--data", "{}", "--nats", address},
		{"ready"},
		{"endpoints", "list"},
		{"endpoints", "show", "one"},
		{"dlq", "list"},
		{"dlq", "stats"},
		{"audit", "list"},
		{"publish", "none.x", "--data", "{}"},
		{"endpoints", "pause", "one"},
		{"endpoints", "resume", "one"},
	}
	try := func(t *testing.T, warned bool) {
		t.Helper()
		for _, command := range commands {
			got := runFanjet(t, append(command, "--config", p.config)...)
			if got.code != exitOK || strings.Contains(got.err, "fanjet: warning: ") != warned || strings.Contains(got.out, "warning") {
				t.Errorf("fanjet %s: %d, stdout %q, stderr %q", strings.Join(command, " "), got.code, got.out, got.err)
			}
		}
	}
	try(t, false)
	for name, text := range map[string]string{
		"YAML syntax":          good + "egress: [\n",
		"syntax in nats":       strings.Replace(good, "nats: {", "nats: {{", 1),
		"unknown key":          good + "egres: {}\n",
		"unknown key of nats":  strings.Replace(good, "embedded: {", "embedde: {", 1),
		"missing variable":     strings.Replace(good, `"`+crashSecret+`"`, "env:FANJET_NOT_SET", 1) + "canary: {subject: 1}\n",
		"missing secret file":  strings.Replace(good, `"`+crashSecret+`"`, "file:gone", 1) + "egress: {}\n",
		"include that is gone": good + "include: [gone.yaml]\n",
		"another NATS":         strings.Replace(good, "store_dir: data", "store_dir: elsewhere", 1) + "x: 1\n",
		"another listener":     strings.Replace(good, `admin: {listen: "127.0.0.1:0"}`, `admin: {listen: "127.0.0.1:1"}`, 1) + "x: 1\n",
		"empty":                "",
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			try(t, true)
		})
	}
	// The file is right, and a restart would take it to other addresses.
	other := strings.NewReplacer(`admin: {listen: "127.0.0.1:0"}`, `admin: {listen: "127.0.0.1:1"}`, "store_dir: data", "store_dir: elsewhere").Replace(good)
	if err := os.WriteFile(p.config, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := runFanjet(t, "ready", "--config", p.config); got != (result{exitOK, "ready\n", ""}) {
		t.Errorf("ready, where the file names another listener: %+v", got)
	}
	if got := runFanjet(t, "endpoints", "list", "--config", p.config); got.code != exitOK || !strings.Contains(got.err, "was changed since the gateway started") {
		t.Errorf("endpoints list, where the file names another NATS: %+v", got)
	}
	if err := os.Remove(p.config); err != nil {
		t.Fatal(err)
	}
	t.Run("gone", func(t *testing.T) { try(t, true) })
	got := runFanjet(t, "ready", "--admin", strings.TrimPrefix(p.admin, "http://"), "--config", filepath.Join(t.TempDir(), "none.yaml"))
	if got.code != exitOK {
		t.Errorf("ready --admin without a file: %+v", got)
	}
	// What a process leaves that was killed tells nobody that it runs.
	if err := os.WriteFile(p.config, []byte(good+"x: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.kill()
	if got := runFanjet(t, "ready", "--config", p.config); got.code != exitFailure || !strings.Contains(got.err, "does not answer") {
		t.Errorf("ready after a kill: %+v", got)
	}
	if err := os.WriteFile(p.config, []byte("admin: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := runFanjet(t, "ready", "--config", p.config); got.code != exitFailure || !strings.Contains(got.err, "name the address with --admin") {
		t.Errorf("ready after a kill, with a file that says nothing: %+v", got)
	}
}

// With a NATS server of its own the gateway needs no folder, and --nats takes the
// place of a file that is gone.
func TestCommandsWithoutAFile(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Listen: true})
	p := newGatewayProcess(t, "", besideEndpoints)
	text := strings.Replace(readText(t, p.config), `{embedded: {store_dir: data, listen: "127.0.0.1:0"}}`, "{url: \""+server.URL()+"\"}", 1)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	none := filepath.Join(t.TempDir(), "none.yaml")
	for _, command := range [][]string{
		{"endpoints", "list"}, {"endpoints", "show", "one"}, {"dlq", "list"}, {"dlq", "stats"}, {"audit", "list"}, {"publish", "none.x", "--data", "{}"},
	} {
		got := runFanjet(t, append(command, "--config", none, "--nats", server.URL())...)
		if got.code != exitOK || !strings.Contains(got.err, "there is no such file") {
			t.Errorf("fanjet %s --nats: %+v", strings.Join(command, " "), got)
		}
		got = runFanjet(t, append(command, "--config", none)...)
		if got.code != exitFailure || !strings.Contains(got.err, "name the server with --nats") {
			t.Errorf("fanjet %s, which could be meant for any NATS: %+v", strings.Join(command, " "), got)
		}
	}
	if err := os.WriteFile(p.config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := runFanjet(t, "ready", "--config", p.config); got.code != exitOK {
		t.Errorf("ready: %+v", got)
	}
}
